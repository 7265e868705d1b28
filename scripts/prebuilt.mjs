// The packages that spare users the build, ready to be published: npm run prebuilt [-- --cuda [--arch 90]] [--jobs <n>]
//   out/prebuilt/linux-x64         @diffusion-native/linux-x64: the addon, the CPU backend, oneDNN and OpenMP
//   out/prebuilt/linux-x64-cuda    @diffusion-native/linux-x64-cuda: the CUDA backend
//   out/prebuilt/diffusion-native  this package with those as optional dependencies. The repository does not list them, because
//                                  `npm ci` refuses a lock file without them, and they cannot be locked before they are published.
// They run with glibc 2.28 and the C++ runtime of GCC 8 or later, whatever this system has: scripts/prebuilt/versions.mjs.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { newestNeeded, sharedLibraries } from './gpu/libraries.mjs';
import { adaptOneDnn } from './prebuilt/onednn.mjs';
import { lowerVersions, tooNew } from './prebuilt/versions.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: options } = parseArgs({
  options: {
    cuda: { type: 'boolean', default: false },
    arch: { type: 'string', default: '' }, // instead of all: '90', '80,90'
    jobs: { type: 'string', default: String(availableParallelism()) },
  },
});
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const output = join(root, 'out/prebuilt');
const platform = `${process.platform}-${process.arch}`;
const run = (command, ...args) => execFileSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });

function build() {
  const folder = join(root, 'out/prebuilt-build');
  const architectures = options.arch
    .split(',')
    .filter(Boolean)
    .map((architecture) => `${architecture}-real`);
  const cuda = [`-DDIFFUSION_CUDA=${options.cuda ? 'ON' : 'OFF'}`, `-DCMAKE_CUDA_ARCHITECTURES=${architectures.join(';')}`];
  run('cmake', '-S', '.', '-B', folder, '-DDIFFUSION_PREBUILT=ON', ...cuda);
  run('cmake', '--build', folder, '--parallel', options.jobs);
  return join(folder, 'Release');
}

/** The Debian package that a library comes from, and where that states its licence. */
function origin(library) {
  const query = (...args) => execFileSync('dpkg-query', args, { encoding: 'utf8' });
  const [owner] = query('--search', realpathSync(library)).split(':');
  const field = (name) => query('--show', `--showformat=\${source:${name}}\n`, owner).split('\n')[0];
  const source = `${field('Package')} ${field('Version')}`;
  return { owner, source, path: `/usr/share/doc/${owner}/copyright` };
}

/** Puts native files and bundled libraries ([name, path] pairs) into a package's folder and makes them run on older systems. */
function place(folder, files, libraries) {
  const own = files.map((path) => join(folder, basename(path)));
  files.forEach((path, i) => {
    copyFileSync(path, own[i]);
    execFileSync('strip', ['--strip-unneeded', own[i]]);
  });
  const { system, cxx, others } = sharedLibraries([...files, ...libraries.map(([, path]) => path)]);
  const paths = new Map([...system, ...cxx, ...others]);
  for (const path of own) lowerVersions(path, paths);
  const bundled = libraries.flatMap(([name, path]) => {
    const copy = join(folder, name);
    copyFileSync(path, copy);
    if (name.startsWith('libdnnl')) return [copy, adaptOneDnn(copy, paths)];
    lowerVersions(copy, paths);
    return [copy];
  });
  const placed = [...own, ...bundled];
  const missing = tooNew(placed);
  if (missing.length > 0) throw new Error(`not for older systems:\n${missing.join('\n')}`);
  const strayed = sharedLibraries(own).others.filter(([, path]) => dirname(path) !== folder);
  if (strayed.length > 0) throw new Error(`not taken from the package: ${strayed.join(' ')}`);
  return placed;
}

/** Assembles one package. */
function assemble(suffix, description, files, libraries) {
  const name = `@diffusion-native/${platform}${suffix}`;
  const folder = join(output, basename(name));
  mkdirSync(folder, { recursive: true });
  const all = place(folder, files, libraries);
  const origins = [...new Map(libraries.map(([, path]) => origin(path)).map((found) => [found.owner, found])).values()];
  for (const { owner, path } of origins) copyFileSync(path, join(folder, `LICENSE.${owner}`));
  copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));

  const needs = { glibc: newestNeeded('GLIBC', all), glibcxx: newestNeeded('GLIBCXX', all) };
  const { version, license, engines } = manifest;
  const licenses = libraries.length > 0 ? 'SEE LICENSE IN README.md' : license;
  const fields = { os: [process.platform], cpu: [process.arch], libc: ['glibc'], engines, needs };
  writeFileSync(
    join(folder, 'package.json'),
    `${JSON.stringify({ name, version, description, license: licenses, ...fields }, null, 2)}\n`,
  );
  const bundled = origins
    .map(({ owner, source }) => `- ${owner}, of Debian's source package ${source}: see LICENSE.${owner}`)
    .join('\n');
  const cxx = needs.glibcxx ? ` and libstdc++ with GLIBCXX_${needs.glibcxx} or later` : '';
  writeFileSync(
    join(folder, 'README.md'),
    `# ${name}\n\n${description}. An optional dependency of diffusion-native ${version}, which finds it by itself.\n\n` +
      `Needs ${platform} with glibc ${needs.glibc} or later${cxx}.\n\nMIT licensed${bundled ? `, but for what is bundled, where the versions of symbols asked for were lowered:\n\n${bundled}` : '.'}\n`,
  );
  console.log(`${name}: ${all.length} files, needs glibc ${needs.glibc}${cxx}`);
  return { name, folder };
}

/** This package as it is published beside the others. */
function assembleMain(packages) {
  const target = join(output, manifest.name);
  const [{ filename }] = JSON.parse(
    execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', output], { cwd: root, encoding: 'utf8' }),
  );
  run('tar', '-C', output, '-xzf', join(output, filename));
  rmSync(join(output, filename));
  renameSync(join(output, 'package'), target);
  const optionalDependencies = Object.fromEntries(packages.map((name) => [name, manifest.version]));
  writeFileSync(join(target, 'package.json'), `${JSON.stringify({ ...manifest, optionalDependencies }, null, 2)}\n`);
}

if (!existsSync(join(root, 'dist/index.js'))) throw new Error('dist is not built: npm run build:ts');
rmSync(output, { recursive: true, force: true });
mkdirSync(output, { recursive: true });
const release = build();
const files = ['diffusion_native.node', 'libdiffusion_cpu.so'].map((file) => join(release, file));
const bundled = sharedLibraries(files).others.filter(([name]) => /^lib(dnnl|gomp)\.so/.test(name));
const packages = [
  assemble('', 'Addon and CPU backend, with oneDNN', files, bundled),
  ...(options.cuda ? [assemble('-cuda', 'CUDA backend', [join(release, 'libdiffusion_cuda.so')], [])] : []),
];
assembleMain(packages.map(({ name }) => name));
