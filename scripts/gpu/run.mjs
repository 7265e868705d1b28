// The tests and benchmarks of the archive of `npm run pack:gpu`, started by run.sh. Result files go below results/.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runSanitizers } from './sanitizer.mjs';
import { compareTrainings } from './training.mjs';

const usage = `./run.sh [--tests] [--bench] [--sanitizer] [options] [test files]
Without a choice: the tests, then the benchmarks. Results are written below results/.
  --tests        the conformance suite, on every device that there is
  --bench        the benchmarks, beside PyTorch where python3 has it
  --sanitizer    compute-sanitizer's memcheck and racecheck over a part of the tests, where that tool is found
  --device <id>  what the benchmarks run on (default: cuda where it can be used, else cpu); the tests fail when it is not there
  --only <list>  of the benchmarks kernels, blocks, train, sample, overhead, losses (default: all)
  --dtype <list> of the element types f32, bf16 (default: all that the device computes in)
  --quick        small sizes and few repetitions
  --python <p>   the Python that has PyTorch (default: python3; none: no comparison)`;

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const { values: options, positionals: chosen } = parseArgs({
  allowPositionals: true,
  options: {
    tests: { type: 'boolean' },
    bench: { type: 'boolean' },
    sanitizer: { type: 'boolean' },
    device: { type: 'string' },
    only: { type: 'string', default: 'kernels,blocks,train,sample,overhead,losses' },
    dtype: { type: 'string', default: 'f32,bf16' },
    quick: { type: 'boolean' },
    python: { type: 'string', default: 'python3' },
    help: { type: 'boolean' },
  },
});
if (options.help) {
  console.log(usage);
  process.exit(0);
}
process.chdir(root);
process.env.PYTHON = options.python === 'none' ? 'false' : options.python;
process.env.VITE_CONFIG_NATIVE_IGNORE_WARNING = 'true'; // of vite's plans for the form of vitest.config.ts
const { listDevices } = createRequire(import.meta.url)(join(root, 'dist/index.js'));
const { machine } = createRequire(import.meta.url)(join(root, 'dist/bench/machine.js'));
const stamp = new Date().toISOString().slice(0, 19).replaceAll(':', '');
const results = join(root, 'results');
const resultPath = (name) => relative(root, join(results, `${name}-${stamp}.json`));
const node = (...args) => spawnSync(process.execPath, args, { stdio: 'inherit' }).status === 0;
const all = !options.tests && !options.bench && !options.sanitizer;

const devices = listDevices();
for (const { id, available, name, isa, computeCapability, reason } of devices)
  console.log(
    available ? `${id}: ${[name, isa, computeCapability].filter(Boolean).join(', ')}` : `${id}: not available: ${reason}`,
  );
const usable = (wanted) => devices.some(({ id, available }) => available && (id === wanted || id.split(':')[0] === wanted));
const device = options.device ?? (usable('cuda') ? 'cuda' : 'cpu');
if (!usable(device) && device !== 'emulator') {
  console.error(`run.sh: device '${device}' cannot be used here`);
  process.exit(1);
}
mkdirSync(results, { recursive: true });

/** The conformance suite; passed and failed tests are counted for each device. */
function runTests() {
  const files = chosen.length > 0 ? chosen : JSON.parse(readFileSync('conformance.json', 'utf8'));
  const raw = join(results, 'vitest.json');
  const ok = node(
    'node_modules/vitest/vitest.mjs',
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${raw}`,
    ...files,
  );
  if (!existsSync(raw)) return false;
  const counts = {};
  const failures = [];
  for (const { assertionResults, name } of JSON.parse(readFileSync(raw, 'utf8')).testResults)
    for (const { ancestorTitles, title, status, fullName, failureMessages } of assertionResults) {
      const id = ['cpu', 'emulator', 'cuda'].find((one) => one === (ancestorTitles[0] ?? title)) ?? 'any device';
      counts[id] ??= { passed: 0, failed: 0, skipped: 0 };
      counts[id][status === 'passed' || status === 'failed' ? status : 'skipped'] += 1;
      if (status === 'failed') failures.push({ file: relative(root, name), test: fullName, message: failureMessages[0] });
    }
  const path = resultPath('tests');
  writeFileSync(path, `${JSON.stringify({ ...machine(device), devices, counts, failures }, null, 2)}\n`);
  for (const [id, { passed, failed, skipped }] of Object.entries(counts)) {
    const reason = skipped > 0 ? devices.find((one) => one.id === id)?.reason : undefined;
    console.log(`${id}: ${passed} passed, ${failed} failed, ${skipped} skipped${reason ? ` (${reason})` : ''}`);
  }
  console.log(path);
  return ok;
}

/** Each benchmark that was asked for, in each element type that was asked for and that the device computes in. */
function runBenches() {
  const quick = options.quick ? ['--quick'] : [];
  const info = devices.find(({ id }) => id === device || id.split(':')[0] === device);
  const dtypes = options.dtype.split(',').filter((dtype) => dtype === 'f32' || info?.bf16 || device === 'emulator');
  const wanted = options.only.split(',');
  const python = ['--python', join(root, 'runtime/python3')];
  let ok = true;
  const suites = ['kernels', 'blocks', 'train', 'sample', 'overhead'].filter((name) => wanted.includes(name));
  if (suites.length > 0) {
    const what = ['--suite', suites.join(','), '--device', device, '--dtype', dtypes.join(','), '--peers', ...python, ...quick];
    ok = node('dist/cli/main.js', 'bench', ...what, '--json', resultPath('bench'));
  }
  if (wanted.includes('losses')) {
    const [path, steps] = [resultPath('losses'), options.quick ? 4 : 200];
    ok = compareTrainings({ root, device, dtypes, steps, path, about: machine(device) }) && ok;
  }
  return ok;
}

function complain(message) {
  console.error(`run.sh: ${message}`);
  return false;
}

let ok = true;
if (options.tests || all) ok = runTests() && ok;
if (options.sanitizer)
  ok = (usable('cuda') ? runSanitizers(root, stamp, chosen) : complain('the sanitizers need a CUDA device')) && ok;
if (options.bench || all) ok = runBenches() && ok;
process.exit(ok ? 0 : 1);
