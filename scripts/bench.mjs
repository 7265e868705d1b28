// Runs the benchmarks, writes bench/results/<device>-<date>.json, out/bench/report.html, and the README's tables anew.
//   npm run bench [-- --device cuda --suite train --peers …: what `npx diffusion-native bench` takes]
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { listDevices } = createRequire(import.meta.url)(join(root, 'dist/index.js'));
const given = process.argv.slice(2);

/** The value of an option that is given as `--name value` or `--name=value`. */
function optionOf(name) {
  const place = given.findLastIndex((one) => one === name || one.startsWith(`${name}=`));
  if (place < 0) return undefined;
  return given[place].includes('=') ? given[place].slice(name.length + 1) : given[place + 1];
}

/** As the result file calls it. */
function deviceName() {
  const asked = optionOf('--device') || process.env.DIFFUSION_DEVICE || 'auto';
  const found = asked === 'auto' ? listDevices().find(({ available }) => available)?.id : asked;
  return (found ?? 'cpu').replace(':', '-');
}

const has = (...names) => given.some((one) => names.some((name) => one === name || one.startsWith(`${name}=`)));
const run = (...command) => spawnSync(process.execPath, command, { cwd: root, stdio: 'inherit' }).status ?? 1;

/** Results stay: the second of a day has another name. */
function freeFile() {
  const name = `bench/results/${deviceName()}-${new Date().toISOString().slice(0, 10)}`;
  let file = `${name}.json`;
  for (let i = 2; existsSync(join(root, file)); i++) file = `${name}-${i}.json`;
  return file;
}

/** Whether two files are to be compared, and nothing measured. */
function comparesTwo() {
  const files = given.slice(given.lastIndexOf('--compare') + 1);
  return given.includes('--compare') && files.length > 1 && !files.slice(0, 2).some((one) => one.startsWith('-'));
}

if (has('--help', '-h') || comparesTwo()) process.exit(run('dist/cli/main.js', 'bench', ...given));
const defaults = { '--json': freeFile(), '--report': 'out/bench/report.html' };
const args = [...given, ...Object.entries(defaults).flatMap((option) => (has(option[0]) ? [] : option))];
const status = run('dist/cli/main.js', 'bench', ...args);
process.exit(status === 0 ? run('scripts/readme-tables.mjs') : status);
