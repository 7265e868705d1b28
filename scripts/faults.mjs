// The tests of test/faults in their long form: npm run test:faults [-- <test files instead of all>]
// What they counted goes to bench/results/faults-<date>.json; a test that runs again that day takes its former place.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const work = mkdtempSync(join(tmpdir(), 'diffusion-faults-'));
const [notes, report] = [join(work, 'notes.jsonl'), join(work, 'report.json')];
const files = process.argv.length > 2 ? process.argv.slice(2) : ['test/faults'];
const reporters = [
  '--reporter=default',
  '--reporter=./test/support/skipReporter.ts',
  '--reporter=json',
  `--outputFile.json=${report}`,
];
const env = { ...process.env, DIFFUSION_FAULTS: 'long', DIFFUSION_FAULTS_NOTES: notes };
writeFileSync(notes, '');
const began = new Date();
const { status } = spawnSync('npx', ['vitest', 'run', ...reporters, ...files], { cwd: root, stdio: 'inherit', env });

/** What each test noted last, by its full name. */
function noted() {
  const lines = readFileSync(notes, 'utf8').trim().split('\n').filter(Boolean);
  return new Map(lines.map((line) => JSON.parse(line)).map(({ test, values }) => [test.replaceAll(' > ', ' '), values]));
}

/** The tests of this run: file, name, status, seconds, and what was noted. */
function outcomes() {
  const values = noted();
  return JSON.parse(readFileSync(report, 'utf8')).testResults.flatMap(({ name: file, assertionResults }) =>
    assertionResults.map(({ fullName, status: outcome, duration }) => ({
      file: relative(root, file),
      test: fullName,
      outcome,
      seconds: Math.round((duration ?? 0) / 100) / 10,
      ...values.get(fullName),
    })),
  );
}

const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
const changed = git('status', '--porcelain', '--', 'lib', 'native', 'test') ? '+changes' : '';
const commit = git('rev-parse', '--short', 'HEAD') + changed;
const target = join(root, 'bench/results', `faults-${began.toISOString().slice(0, 10)}.json`);
const machine = {
  processor: cpus()[0].model,
  cores: cpus().length,
  memoryBytes: totalmem(),
  system: `${process.platform}-${process.arch} ${release()}`,
  node: process.version,
};
if (existsSync(report)) {
  const before = existsSync(target) ? JSON.parse(readFileSync(target, 'utf8')) : { tests: [] };
  const tests = outcomes().map((test) => ({ ...test, commit }));
  const again = new Set(tests.map(({ file, test }) => `${file} ${test}`));
  const others = before.tests.filter(({ file, test }) => !again.has(`${file} ${test}`));
  const sorted = [...others, ...tests].sort((a, b) => (a.file + a.test < b.file + b.test ? -1 : 1));
  writeFileSync(target, `${JSON.stringify({ form: 'long', machine, tests: sorted }, null, 2)}\n`);
  console.log(`wrote ${relative(root, target)}`);
}
rmSync(work, { recursive: true, force: true });
process.exit(status ?? 1);
