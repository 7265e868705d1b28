// Builds libdiffusion_cuda.so in a folder of its own and checks what its kernels use (scripts/cuda-resources.mjs).
//   node scripts/cuda-build.mjs [--arch all | 90 | 80,90]        out/cuda, or out/cuda-90, …
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { checkResources } from './cuda-resources.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Is there a CUDA compiler where CMakeLists.txt looks? */
export function hasNvcc() {
  const { CUDACXX, CUDA_HOME, CUDA_PATH } = process.env;
  const folders = [CUDA_HOME, CUDA_PATH, '/usr/local/cuda'].filter(Boolean).map((folder) => join(folder, 'bin/nvcc'));
  return [CUDACXX, ...folders].some((path) => path && existsSync(path)) || spawnSync('nvcc', ['--version']).status === 0;
}

/** Builds for 'all' architectures of CMakeLists.txt or for those listed ('90', '80,90'); says where it is. */
export function buildCuda(architectures) {
  const folder = join(root, 'out', architectures === 'all' ? 'cuda' : `cuda-${architectures.replaceAll(',', '-')}`);
  const targets = architectures.split(',').map((architecture) => `${architecture}-real`);
  const options = [
    '-DDIFFUSION_CUDA=ON',
    `-DCMAKE_CUDA_COMPILER_LAUNCHER=${join(root, 'scripts/keep-log.sh')}`,
    '-DCMAKE_CUDA_FLAGS=--resource-usage',
    ...(architectures === 'all' ? [] : [`-DCMAKE_CUDA_ARCHITECTURES=${targets.join(';')}`]),
  ];
  const cmake = (...args) => execFileSync('cmake', args, { cwd: root, stdio: 'inherit' });
  cmake('-S', '.', '-B', folder, ...options);
  cmake('--build', folder, '--target', 'diffusion_cuda', '--parallel', String(availableParallelism()));
  return { folder, library: join(folder, 'Release/libdiffusion_cuda.so') };
}

if (import.meta.filename === process.argv[1]) {
  const { values } = parseArgs({ options: { arch: { type: 'string', default: 'all' } } });
  checkResources(buildCuda(values.arch).folder);
}
