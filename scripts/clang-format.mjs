// Checks that the native sources are formatted as .clang-format says; with --fix it formats them.
// Needs clang-format 19: other versions disagree about details, so without it the check is skipped and says so.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const { filesBelow } = createRequire(import.meta.url)('./native-sources.cjs');
const root = join(dirname(fileURLToPath(import.meta.url)), '..');

const isVersion19 = (command) => /version 19\./.test(spawnSync(command, ['--version'], { encoding: 'utf8' }).stdout ?? '');
const command = ['clang-format-19', 'clang-format'].find(isVersion19);
if (!command) {
  console.log('clang-format 19 is not installed: native sources not checked (sudo apt-get install -y clang-format-19)');
  process.exit(0);
}

const files = filesBelow('native', ['.cc', '.h', '.cu', '.cuh']);
const mode = process.argv.includes('--fix') ? ['-i'] : ['--dry-run', '-Werror'];
const { status } = spawnSync(command, [...mode, ...files], { cwd: root, stdio: 'inherit' });
if (status === 0) console.log(`clang-format: ${files.length} native files`);
process.exit(status ?? 1);
