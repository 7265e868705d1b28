// node .ci/count.mjs <vitest's JSON report> <exit status of npm test>: prints "<passed> <failed>". A run that failed
// without a failed test (set-up, an import, a crash) counts as one failure.
import { existsSync, readFileSync } from 'node:fs';

const [file, status] = process.argv.slice(2);
const report = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { testResults: [] };
const tests = report.testResults.flatMap((result) => result.assertionResults);
const count = (state) => tests.filter((test) => test.status === state).length;

const brokenFiles = report.testResults.filter(
  (result) => result.status === 'failed' && !result.assertionResults.some((test) => test.status === 'failed'),
);
const failures = count('failed') + brokenFiles.length;

console.log(count('passed'), failures === 0 && status !== '0' ? 1 : failures);
