// From a fresh clone to something that runs: tools, packages, native build, TypeScript build. Each stage is skipped when
// nothing that it depends on has changed. Imports nothing from node_modules, which may not exist yet.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { hasOneDnn, installLine } = createRequire(import.meta.url)('./onednn.cjs');
const oldestNode = [20, 17];
const stampFile = join(root, 'out/setup.json');

const works = (command, ...args) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;

/** Prints one line and ends with exit status 1. */
function fail(message) {
  console.error(`setup: ${message}`);
  process.exit(1);
}

/** Runs a command quietly; its whole output is shown only when it fails. */
function runQuietly(command, args, env) {
  const result = spawnSync(command, args, { cwd: root, env: { ...process.env, ...env }, encoding: 'utf8', maxBuffer: 2 ** 28 });
  if (result.status === 0) return;
  process.stderr.write(`\n${result.stdout ?? ''}${result.stderr ?? ''}`);
  fail(`\`${[command, ...args].join(' ')}\` failed${result.error ? `: ${result.error.message}` : ''}`);
}

/** Announces a stage, does it, and adds the time that it took. */
function stage(title, work) {
  const start = performance.now();
  process.stdout.write(`setup: ${title} … `);
  work();
  console.log(`${((performance.now() - start) / 1000).toFixed(1)} s`);
}

/** SHA-256 over the names and contents of files and of everything below folders. */
function fingerprint(...paths) {
  const hash = createHash('sha256').update(process.arch);
  const visit = (path) => {
    if (!existsSync(join(root, path)) || path === 'bench/results') return;
    if (statSync(join(root, path)).isDirectory()) {
      for (const name of readdirSync(join(root, path)).sort()) visit(`${path}/${name}`);
    } else {
      hash.update(`\0${path}\0`).update(readFileSync(join(root, path)));
    }
  };
  paths.forEach(visit);
  return hash.digest('hex');
}

const readJson = (path) => (existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {});
const stamps = readJson(stampFile);

/** Has the fingerprint changed since the last success, or is one of the products gone? */
function isStale(name, current, products) {
  return stamps[name] !== current || !products.every((path) => existsSync(join(root, path)));
}

function remember(name, current) {
  stamps[name] = current;
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, `${JSON.stringify(stamps, null, 2)}\n`);
}

/** True when each package of package-lock.json is in node_modules in the locked version (npm keeps its own account there). */
function packagesAreInstalled() {
  const wanted = readJson(join(root, 'package-lock.json')).packages ?? {};
  const installed = readJson(join(root, 'node_modules/.package-lock.json')).packages ?? {};
  return Object.entries(wanted).every(
    ([path, entry]) => path === '' || entry.optional || installed[path]?.version === entry.version,
  );
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < oldestNode[0] || (major === oldestNode[0] && minor < oldestNode[1])) {
    fail(`Node.js ${oldestNode.join('.')} or later is needed, this is ${process.version}`);
  }
}

const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-n'];

/** Is this a system with apt-get, where it needs no password? */
const canInstall = () => works('apt-get', '--version') && (asRoot.length === 0 || works('sudo', '-n', 'true'));

/** The commands that install packages, as arguments of `spawn`. */
const aptGet = (...packages) => [['update'], ['install', '-y', ...packages]].map((args) => [...asRoot, 'apt-get', ...args]);
const noQuestions = { DEBIAN_FRONTEND: 'noninteractive' };

/** Installs oneDNN's development package where that needs no password; otherwise says how. */
function installOneDnn() {
  if (!canInstall()) fail(`oneDNN, which the CPU backend needs, was not found. Install it with:\n  ${installLine}`);
  stage('installing libdnnl-dev (oneDNN) with apt-get', () => {
    for (const [command, ...args] of aptGet('libdnnl-dev')) runQuietly(command, args, noQuestions);
  });
}

/** The browser that the tests look at reports with, where it can be installed; elsewhere those tests are skipped. */
function installBrowser() {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  if (names.some((name) => works(name, '--version')) || !canInstall()) return;
  stage('installing chromium, for tests, with apt-get', () => {
    const env = { ...process.env, ...noQuestions };
    const done = aptGet('--no-install-recommends', 'chromium', 'fonts-dejavu-core').every(
      ([command, ...args]) => spawnSync(command, args, { env, stdio: 'ignore' }).status === 0,
    );
    if (!done) process.stdout.write('failed, and its tests will be skipped … ');
  });
}

/** The npm script that builds the native files here, and the folder that it fills. */
function chooseBuild() {
  const compiler = (process.env.CXX || 'c++').split(' ')[0];
  if (!works(compiler, '--version')) fail('no C++ compiler (c++). Install one with:\n  sudo apt-get install -y g++ make');
  if (!hasOneDnn()) installOneDnn();
  if (works('cmake', '--version')) return 'build:native';
  if (works('make', '--version') && works('python3', '--version')) return 'build:gyp';
  return fail('neither cmake nor make with python3. Install one with:\n  sudo apt-get install -y cmake make');
}

/** Node's own headers where they lie beside its executable, so that node-gyp need not download them. */
function localNodeHeaders() {
  const prefix = join(dirname(process.execPath), '..');
  const given = process.env.npm_config_nodedir;
  return !given && existsSync(join(prefix, 'include/node/node_api.h')) ? { npm_config_nodedir: prefix } : {};
}

function buildNative() {
  const inputs = fingerprint('native', 'CMakeLists.txt', 'bindings.gyp', 'scripts/native-sources.cjs', 'scripts/onednn.cjs');
  const files = ['diffusion_native.node', 'libdiffusion_cpu.so'];
  const folder = ['out/cmake/Release', 'build/Release'].find((path) => existsSync(join(root, path, files[0])));
  if (
    folder &&
    !isStale(
      'native',
      inputs,
      files.map((file) => `${folder}/${file}`),
    )
  )
    return;

  const script = chooseBuild();
  const jobs = String(availableParallelism());
  const env = { CMAKE_BUILD_PARALLEL_LEVEL: jobs, JOBS: jobs, ...localNodeHeaders() };
  stage(`building native code (npm run ${script})`, () => runQuietly('npm', ['run', '--silent', script], env));
  remember('native', inputs);
}

/** The CUDA backend's sources on the CPU, for the tests; only CMake builds it. */
function buildEmulator() {
  if (!existsSync(join(root, 'out/cmake/CMakeCache.txt'))) return;
  const inputs = fingerprint('native', 'test/emulator', 'test/cuda', 'CMakeLists.txt', 'scripts/native-sources.cjs');
  if (!isStale('emulator', inputs, ['out/cmake/Release/libdiffusion_emulator.so', 'out/cmake/Release/emulator_cases'])) return;
  const env = { CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()) };
  stage('building the CUDA emulator', () => runQuietly('npm', ['run', '--silent', 'build:emulator'], env));
  remember('emulator', inputs);
}

function buildTypeScript() {
  const inputs = fingerprint('lib', 'bench', 'package.json', 'tsconfig.json', 'tsconfig.bench.json', 'scripts/esm-facade.mjs');
  if (!isStale('typescript', inputs, ['dist/index.js', 'dist/index.mjs'])) return;
  stage('building TypeScript', () => runQuietly('npm', ['run', '--silent', 'build:ts']));
  remember('typescript', inputs);
}

checkNode();
if (!packagesAreInstalled()) stage('installing packages (npm ci)', () => runQuietly('npm', ['ci', '--no-audit', '--no-fund']));
buildNative();
if (process.argv.includes('--emulator')) {
  installBrowser();
  buildEmulator();
}
buildTypeScript();
