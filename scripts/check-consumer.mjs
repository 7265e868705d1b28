// The package as other projects meet it: npm pack, an empty project, npm install, the build from source, `require` and `import`,
// three training steps, types; then the same with prebuilt packages and no build.
//   npm run check:consumer [-- --keep] [--cuda]   the projects lie in the folder of temporary files; --keep leaves them there; --cuda
//                                                 adds the package of the CUDA backend, for one architecture
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { program, typedProgram } from './consumer-programs.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const work = realpathSync(mkdtempSync(join(tmpdir(), 'diffusion-consumer-')));
const { DIFFUSION_NATIVE_PATH: _, ...environment } = process.env;
const env = { ...environment, XDG_CACHE_HOME: join(work, 'cache') };

const capture = (command, args, cwd) => execFileSync(command, args, { cwd, env, encoding: 'utf8', maxBuffer: 2 ** 26 });
const npm = (cwd, ...args) => capture('npm', [...args, '--no-audit', '--no-fund', '--prefer-offline'], cwd);

/** Runs one step and prints how long it took. */
function step(name, body) {
  const start = performance.now();
  const result = body();
  console.log(`${name} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
  return result;
}

/** `npm pack` of a folder, as the path of the archive. */
function pack(folder) {
  const [{ filename }] = JSON.parse(capture('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', work], folder));
  return join(work, filename.replace('@', '').replace('/', '-'));
}

function makeProject(name, ...archives) {
  const folder = join(work, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, private: true, version: '1.0.0' }));
  npm(folder, 'install', ...archives);
  writeFileSync(join(folder, 'train.cjs'), program('require'));
  writeFileSync(join(folder, 'train.mjs'), program('import'));
  return folder;
}

/** Before any native file is there: the package loads, says what to run, and names every place. */
function checkUnbuilt(folder) {
  const { status, stderr } = spawnSync(process.execPath, ['train.cjs'], { cwd: folder, env, encoding: 'utf8' });
  assert.notEqual(status, 0);
  const installed = join(folder, 'node_modules/diffusion-native');
  for (const text of [
    'DeviceError',
    'npx diffusion-native build',
    `${installed}/out/cmake/Release/`,
    `${installed}/build/Release/`,
  ])
    assert.ok(stderr.includes(text), `'${text}' is not in: ${stderr}`);
  assert.ok(stderr.includes(`${env.XDG_CACHE_HOME}/diffusion-native/`), stderr);
  for (const name of ['linux-x64', 'linux-x64-cuda'])
    assert.ok(stderr.includes(`@diffusion-native/${name} is not installed`), stderr);
}

/** Trains three steps in both module systems; the losses agree. Gives the native files that were loaded. */
function train(folder) {
  const runs = ['train.cjs', 'train.mjs'].map((file) => JSON.parse(capture(process.execPath, [file], folder)));
  for (const { losses } of runs) {
    assert.equal(losses.length, 3);
    assert.ok(losses.every((loss) => Number.isFinite(loss) && loss > 0));
  }
  assert.deepEqual(runs[0].losses, runs[1].losses);
  return runs[0].loaded;
}

/** Fails where the compiler does not accept the typed program under these names, declarations of the package included. */
function checkTypes(folder, compilerOptions, ...files) {
  const typeRoots = [join(root, 'node_modules/@types')];
  const strict = {
    strict: true,
    noEmit: true,
    target: 'ES2022',
    lib: ['ES2023', 'ESNext.Disposable'],
    types: ['node'],
    typeRoots,
  };
  for (const file of files) writeFileSync(join(folder, file), typedProgram);
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: { ...strict, ...compilerOptions }, files }));
  capture(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder], folder);
}

/** All that `paths` name lies in `folder`. */
function assertInside(folder, paths) {
  for (const path of paths) assert.ok(path.startsWith(`${folder}/`), `${path} was loaded, not one in ${folder}`);
}

function fromSource(archive) {
  const folder = step('installed into an empty project', () => makeProject('from-source', archive));
  step('without native files, the error says what to do', () => checkUnbuilt(folder));
  const built = step('npx diffusion-native build', () =>
    JSON.parse(capture('npx', ['--offline', 'diffusion-native', 'build', '--json'], folder)),
  );
  assert.equal(
    built.folder,
    join(folder, 'node_modules/diffusion-native', built.tool === 'cmake' ? 'out/cmake' : 'build', 'Release'),
  );
  const loaded = step('three steps by require and by import', () => train(folder));
  assertInside(
    built.folder,
    loaded.filter((path) => path.includes('diffusion')),
  );
  step('types under NodeNext', () => checkTypes(folder, { module: 'nodenext' }, 'typed.mts', 'typed.cts'));
  step('types for a bundler', () => checkTypes(folder, { module: 'esnext', moduleResolution: 'bundler' }, 'typed.ts'));
}

/** The loader finds the CUDA backend in its package, and what keeps it from being used is the machine. */
function checkCuda(folder) {
  const file = join(folder, 'node_modules/@diffusion-native/linux-x64-cuda/libdiffusion_cuda.so');
  assert.ok(existsSync(file));
  const program = `const { listDevices } = require('diffusion-native'); console.log(JSON.stringify(listDevices()));`;
  const [cuda] = JSON.parse(capture(process.execPath, ['-e', program], folder));
  if (!cuda.available) assert.match(cuda.reason, /driver/);
  assert.doesNotMatch(cuda.reason ?? '', /is not installed|not built|libdiffusion_cuda\.so in/);
}

function fromPrebuilt() {
  const cuda = process.argv.includes('--cuda');
  const flags = cuda ? ['--cuda', '--arch', '90'] : [];
  step(['npm run prebuilt', ...flags].join(' '), () => capture(process.execPath, ['scripts/prebuilt.mjs', ...flags], root));
  const prebuilt = join(root, 'out/prebuilt');
  const names = readdirSync(prebuilt).sort();
  assert.deepEqual(names, ['diffusion-native', 'linux-x64', ...(cuda ? ['linux-x64-cuda'] : [])]);
  const archives = step('packed', () => names.map((name) => pack(join(prebuilt, name))));
  const folder = step('installed with the prebuilt package', () => makeProject('from-prebuilt', ...archives));
  const installed = join(folder, 'node_modules/@diffusion-native/linux-x64');
  assert.ok(!existsSync(join(folder, 'node_modules/diffusion-native/out')));
  const loaded = step('three steps without a build', () => train(folder));
  assertInside(installed, loaded);
  for (const name of ['diffusion_native.node', 'libdiffusion_cpu.so', 'libdnnl', 'libgomp'])
    assert.ok(
      loaded.some((path) => path.includes(name)),
      `${name} is not among ${loaded}`,
    );
  if (cuda) step('the CUDA backend is found', () => checkCuda(folder));
}

try {
  const archive = step('npm pack', () => pack(root));
  fromSource(archive);
  fromPrebuilt();
} catch (error) {
  console.error(error.stdout ?? '', error.stderr ?? '');
  console.error(error);
  process.exitCode = 1;
} finally {
  if (!process.argv.includes('--keep')) rmSync(work, { recursive: true, force: true });
}
