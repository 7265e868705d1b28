// The packages that spare users the build, ready to be published: npm run prebuilt [-- --cuda] [--jobs <n>]
//   out/prebuilt/linux-x64         @diffusion-native/linux-x64: the addon, the CPU backend, and the libraries that these link
//   out/prebuilt/linux-x64-cuda    @diffusion-native/linux-x64-cuda: the CUDA backend
//   out/prebuilt/diffusion-native  this package with those as optional dependencies. The repository does not list them, because
//                                  `npm ci` refuses a lock file without them, and they cannot be locked before they are published.
// They need a C library as new as the one that they are linked against (printed, and in each README.md): for glibc 2.28, run this
// on a system that has it, with a oneDNN built there.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { newestNeeded, sharedLibraries } from './gpu/libraries.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: options } = parseArgs({
  options: { cuda: { type: 'boolean', default: false }, jobs: { type: 'string', default: String(availableParallelism()) } },
});
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const output = join(root, 'out/prebuilt');
const platform = `${process.platform}-${process.arch}`;
const run = (command, ...args) => execFileSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });

function build() {
  const folder = join(root, 'out/prebuilt-build');
  run('cmake', '-S', '.', '-B', folder, '-DDIFFUSION_PREBUILT=ON', `-DDIFFUSION_CUDA=${options.cuda ? 'ON' : 'OFF'}`);
  run('cmake', '--build', folder, '--parallel', options.jobs);
  return join(folder, 'Release');
}

/** Licence of a library, as the Debian package that it comes from states it. */
function licence(library) {
  const search = execFileSync('dpkg-query', ['--search', realpathSync(library)], { encoding: 'utf8' });
  const [owner] = search.split(':');
  return { owner, path: `/usr/share/doc/${owner}/copyright` };
}

/** Assembles one package from native files and bundled libraries ([name, path] pairs). */
function assemble(suffix, description, files, libraries) {
  const name = `@diffusion-native/${platform}${suffix}`;
  const folder = join(output, basename(name));
  mkdirSync(folder, { recursive: true });
  for (const path of files) {
    copyFileSync(path, join(folder, basename(path)));
    execFileSync('strip', ['--strip-unneeded', join(folder, basename(path))]);
  }
  const licences = [...new Map(libraries.map(([, path]) => licence(path)).map((found) => [found.owner, found])).values()];
  for (const [library, path] of libraries) copyFileSync(path, join(folder, library));
  for (const { owner, path } of licences) copyFileSync(path, join(folder, `LICENSE.${owner}`));
  copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));

  const placed = files.map((path) => join(folder, basename(path)));
  const strayed = sharedLibraries(placed).others.filter(([, path]) => dirname(path) !== folder);
  if (strayed.length > 0) throw new Error(`${name}: not taken from the package: ${strayed.join(' ')}`);

  const all = [...files, ...libraries.map(([, path]) => path)];
  const needs = { glibc: newestNeeded('GLIBC', all), glibcxx: newestNeeded('GLIBCXX', all) };
  const { version, license, engines } = manifest;
  const licenses = libraries.length > 0 ? 'SEE LICENSE IN README.md' : license;
  const fields = { os: [process.platform], cpu: [process.arch], libc: ['glibc'], engines, needs };
  writeFileSync(
    join(folder, 'package.json'),
    `${JSON.stringify({ name, version, description, license: licenses, ...fields }, null, 2)}\n`,
  );
  const bundled = licences.map(({ owner }) => `- ${owner}: see LICENSE.${owner}`).join('\n');
  const cxx = needs.glibcxx ? ` and libstdc++ with GLIBCXX_${needs.glibcxx} or later` : '';
  writeFileSync(
    join(folder, 'README.md'),
    `# ${name}\n\n${description}. An optional dependency of diffusion-native ${version}, which finds it by itself.\n\n` +
      `Needs ${platform} with glibc ${needs.glibc} or later${cxx}.\n\nMIT licensed${bundled ? `, but for what is bundled:\n\n${bundled}` : '.'}\n`,
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
const packages = [
  assemble('', 'Addon and CPU backend, with oneDNN', files, sharedLibraries(files).others),
  ...(options.cuda ? [assemble('-cuda', 'CUDA backend', [join(release, 'libdiffusion_cuda.so')], [])] : []),
];
assembleMain(packages.map(({ name }) => name));
