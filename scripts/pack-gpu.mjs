// One archive with all that a machine with an NVIDIA driver needs to run the tests and the benchmarks: Node, the built package,
// the libraries that it links, tests, vitest, benchmarks, and run.sh.
//   npm run pack:gpu [-- --arch 90 | --no-cuda] [--emulator] [--output out/diffusion-native-gpu.tar.xz]
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildCuda, hasNvcc } from './cuda-build.mjs';
import { installedClosure } from './gpu/closure.mjs';
import { newestNeeded, sharedLibraries } from './gpu/libraries.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const name = 'diffusion-native-gpu';
const largestArchive = 60e6;
const { values: options } = parseArgs({
  options: {
    arch: { type: 'string', default: 'all' },
    cuda: { type: 'boolean', default: true },
    emulator: { type: 'boolean', default: false },
    output: { type: 'string', default: join(root, 'out', `${name}.tar.xz`) },
  },
  allowNegative: true,
});

function fail(message) {
  console.error(`pack:gpu: ${message}`);
  process.exit(1);
}

const run = (command, ...args) => execFileSync(command, args, { cwd: root, stdio: 'inherit' });
if (options.cuda && !hasNvcc())
  fail('nvcc was not found; install the CUDA toolkit 13, or pack without the CUDA backend: --no-cuda');
run(process.execPath, 'scripts/setup.mjs', ...(options.emulator ? ['--emulator'] : []));
run(process.execPath, 'node_modules/typescript/bin/tsc', '-p', 'tsconfig.bench.json');
const cudaLibrary = options.cuda ? buildCuda(options.arch).library : null;

const stage = join(root, 'out', 'gpu', name);
rmSync(stage, { recursive: true, force: true });
const place = (from, to) => {
  mkdirSync(dirname(join(stage, to)), { recursive: true });
  copyFileSync(from, join(stage, to)); // what a link points to
};

// Sources as in the repository, so that every path between them stays.
const unneeded = /\.(d\.[mc]?ts|map|md)$|\/test\/(package|emulator)$/;
const copy = (path, filter = (from) => !unneeded.test(from)) =>
  cpSync(join(root, path), join(stage, path), { recursive: true, dereference: true, filter });
for (const path of [
  'package.json',
  'tsconfig.json',
  'vitest.config.ts',
  'lib',
  'dist',
  'vectors',
  'test',
  'bench/peers',
  'dist/bench',
])
  copy(path);
for (const path of ['scripts/gpu', 'scripts/demo.mjs', 'README.md', 'LICENSE']) copy(path, () => true);
place(join(root, 'scripts/gpu/run.sh'), 'run.sh');
const packages = ['commander', 'cli-progress', 'sharp', 'valibot', 'vitest', '@iconify-json/fluent-emoji-flat'];
for (const path of installedClosure(root, packages, /\/lightningcss/)) copy(path); // lightningcss: for style sheets alone

// Native files where the loader looks first.
const release = ['out/cmake/Release', 'build/Release']
  .map((path) => join(root, path))
  .find((path) => existsSync(join(path, 'diffusion_native.node')));
const built = ['diffusion_native.node', 'libdiffusion_cpu.so', ...(options.emulator ? ['libdiffusion_emulator.so'] : [])];
const native = [...built.map((file) => join(release, file)), ...(cudaLibrary ? [cudaLibrary] : [])];
for (const path of native) place(path, join('out/cmake/Release', basename(path)));
place(process.execPath, 'runtime/node');
place(join(root, 'scripts/gpu/python3'), 'runtime/python3');
const { others, cxx } = sharedLibraries([process.execPath, ...native]);
for (const [library, path] of others) place(path, join('runtime/lib', library));
for (const [library, path] of cxx) place(path, join('runtime/lib-cxx', library));
for (const path of ['run.sh', 'runtime/node', 'runtime/python3']) chmodSync(join(stage, path), 0o755);
execFileSync('strip', [join(stage, 'runtime/node'), ...native.map((path) => join(stage, 'out/cmake/Release', basename(path)))]);

// The tests that run on every device that there is.
const conformance = readdirSync(join(stage, 'test'), { recursive: true })
  .filter((path) => path.endsWith('.test.ts') && readFileSync(join(stage, 'test', path), 'utf8').includes('support/devices.js'))
  .map((path) => `test/${path}`)
  .sort();
writeFileSync(join(stage, 'conformance.json'), `${JSON.stringify(conformance, null, 2)}\n`);

const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
const own = [...native, process.execPath, ...others.map(([, path]) => path)];
const build = {
  commit:
    git('rev-parse', '--short', 'HEAD') +
    (git('status', '--porcelain', '--', 'lib', 'native', 'test', 'bench') ? '+changes' : ''),
  date: new Date().toISOString(),
  node: process.version,
  cuda: options.cuda ? options.arch : 'none',
  needs: {
    glibc: newestNeeded('GLIBC', own),
    glibcxx: newestNeeded('GLIBCXX', own),
    glibcWithOwnCxxLibrary: newestNeeded('GLIBC', [...own, ...cxx.map(([, path]) => path)]),
  },
};
writeFileSync(join(stage, 'build.json'), `${JSON.stringify(build, null, 2)}\n`);

mkdirSync(dirname(options.output), { recursive: true });
execFileSync('tar', ['-C', dirname(stage), '--sort=name', '--owner=0', '--group=0', '-cJf', options.output, name], {
  env: { ...process.env, XZ_OPT: `-6 -T${availableParallelism()}` },
  stdio: 'inherit',
});
const { size } = statSync(options.output);
console.log(`${options.output}: ${(size / 1e6).toFixed(1)} MB, commit ${build.commit}, glibc ${build.needs.glibc} or later`);
if (size > largestArchive) fail(`the archive has ${(size / 1e6).toFixed(1)} MB, more than ${largestArchive / 1e6}`);
