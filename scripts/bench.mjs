// Runs the benchmarks, writes bench/results and the README's tables (of the CPU).
//   npm run bench [-- --device cuda --dtype bf16 --python python3 --repetitions 15 …: what bench/unet.ts takes]
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const run = (...args) => execFileSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
const text = { type: 'string' };
const { values } = parseArgs({ strict: false, options: { device: text, dtype: text, python: text } });
const { device = process.env.DIFFUSION_DEVICE || 'cpu', dtype = 'f32', python = 'python3' } = values;

mkdirSync(join(root, 'bench', 'results'), { recursive: true });
const name = [new Date().toISOString().slice(0, 10), ...(device === 'cpu' ? [] : [device.replace(':', '-'), dtype])].join('-');
const result = (benchmark) => ['--json', `bench/results/${benchmark}-${name}.json`];
run('dist/bench/overhead.js', '--device', device, ...result('overhead'));
// Both element types where this is a CPU and nobody chose.
run('dist/bench/unet.js', ...process.argv.slice(2), '--device', device, ...result('unet'));
// The shapes of single operations are those of a GPU: a CPU would take hours.
if (device.startsWith('cuda'))
  run('dist/bench/kernels.js', '--device', device, '--dtype', dtype, '--python', python, ...result('kernels'));
run('scripts/readme-tables.mjs');
