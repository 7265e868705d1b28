// Runs the benchmarks, writes bench/results and the README's tables.   npm run bench [-- --repetitions 15 --python python3]
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const run = (...args) => execFileSync(process.execPath, args, { cwd: root, stdio: 'inherit' });

run('node_modules/typescript/bin/tsc', '-p', 'tsconfig.bench.json');
mkdirSync(join(root, 'bench', 'results'), { recursive: true });
const day = new Date().toISOString().slice(0, 10);
run('out/bench/overhead.js', '--json', `bench/results/overhead-${day}.json`);
run('out/bench/unet.js', '--json', `bench/results/unet-${day}.json`, ...process.argv.slice(2));
run('scripts/readme-tables.mjs');
