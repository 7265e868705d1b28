// The one list of native sources, read by CMakeLists.txt and bindings.gyp. It is the folders themselves: a new file
// needs no registration, its place says how it is compiled.
//
//   addon     native/addon/**/*.cc and native/core/**/*.cc  diffusion_native.node
//   cpu       native/cpu/runtime/*.cc                       libdiffusion_cpu.so, once, baseline instructions
//   isa       native/cpu/*.cc                               libdiffusion_cpu.so, once for each instruction level
//   cuda      native/cuda/**/*.{cu,cc}                      libdiffusion_cuda.so by nvcc, libdiffusion_emulator.so by g++
//   emulator  native/emulator/*.cc                          libdiffusion_emulator.so; not part of the package
//
// Usage: node scripts/native-sources.cjs <group>, one path a line, relative to the package root.
const { readdirSync } = require('node:fs');
const { join } = require('node:path');

const root = join(__dirname, '..');

/** Paths below `folder` with one of the extensions, sorted, relative to the package root and with forward slashes. */
function filesBelow(folder, extensions) {
  return readdirSync(join(root, folder), { recursive: true })
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .filter((path) => extensions.some((extension) => path.endsWith(extension)))
    .sort();
}

const groups = {
  addon: () => [...filesBelow('native/addon', ['.cc']), ...filesBelow('native/core', ['.cc'])],
  cpu: () => filesBelow('native/cpu/runtime', ['.cc']),
  isa: () => filesBelow('native/cpu', ['.cc']).filter((path) => !path.startsWith('native/cpu/runtime/')),
  cuda: () => filesBelow('native/cuda', ['.cu', '.cc']),
  emulator: () => filesBelow('native/emulator', ['.cc']),
};

module.exports = { filesBelow, groups };

if (require.main === module) {
  const list = groups[process.argv[2]];
  if (!list) {
    console.error(`usage: node scripts/native-sources.cjs ${Object.keys(groups).join(' | ')}`);
    process.exit(2);
  }
  console.log(list().join('\n'));
}
