import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const home = ['/usr/local/cuda/bin/compute-sanitizer', '/usr/local/cuda/compute-sanitizer/compute-sanitizer'];

/** Every kernel is in these; the sanitizer slows it down by a factor of ten and more. */
const reduced = [
  'adamW',
  'attention',
  'conv2d',
  'elementwise',
  'embedding',
  'groupNorm',
  'layout',
  'linear',
  'process',
  'reduce',
];

/** compute-sanitizer's memcheck and racecheck over the CUDA half of some tests. Says so, and fails, where the tool is missing. */
export function runSanitizers(root, stamp, chosen) {
  const tool = ['compute-sanitizer', ...home].find((path) => spawnSync(path, ['--version']).status === 0);
  if (!tool) {
    console.error(`compute-sanitizer was found neither on the PATH nor as ${home.join(' or ')}`);
    return false;
  }
  const files = chosen.length > 0 ? chosen : [...reduced.map((name) => `test/ops/${name}.test.ts`), 'test/bf16'];
  let ok = true;
  for (const check of ['memcheck', 'racecheck']) {
    const log = join('results', `${check}-${stamp}.txt`);
    const watch = ['--tool', check, '--target-processes', 'all', '--error-exitcode', '9', '--log-file', log];
    const tests = ['node_modules/vitest/vitest.mjs', 'run', '--testTimeout=600000', '-t', '^cuda '];
    const present = files.filter((file) => existsSync(join(root, file)));
    const { status } = spawnSync(tool, [...watch, process.execPath, ...tests, ...present], { cwd: root, stdio: 'inherit' });
    console.log(`${check}: ${status === 0 ? 'clean' : `exit status ${status}`}, ${log}`);
    ok = status === 0 && ok;
  }
  return ok;
}
