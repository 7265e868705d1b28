import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { DeviceError } from '../errors.js';
import { packageRoot } from '../nativeFiles.js';

/** What turns the sources into native files: CMake, or the path of node-gyp's program. */
export type BuildTool = { name: 'cmake' } | { name: 'node-gyp'; program: string };

const works = (command: string): boolean => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

function install(what: string, packages: string): DeviceError {
  return new DeviceError(`build: ${what}. Install it with:\n  sudo apt-get update && sudo apt-get install -y ${packages}`);
}

/** Chooses the tool, or throws DeviceError with the command that installs what is missing: compiler, tool, oneDNN, nvcc. */
export function findToolchain({ cuda }: { cuda: boolean }): BuildTool {
  if (process.platform !== 'linux') throw new DeviceError(`build: only Linux is supported, this is ${process.platform}`);
  const compiler = (process.env.CXX || 'c++').split(' ')[0] as string;
  if (!works(compiler)) throw install(`no C++ compiler (${compiler})`, 'g++ make');
  const tool = findBuildTool();
  if (cuda && tool.name !== 'cmake') throw install('the CUDA backend is built by CMake, which was not found', 'cmake');
  if (cuda && !hasNvcc())
    throw new DeviceError(
      'build: nvcc was found neither on PATH nor by CUDACXX, CUDA_HOME or CUDA_PATH nor in /usr/local/cuda. ' +
        'The CUDA backend needs the CUDA toolkit 13: https://developer.nvidia.com/cuda-downloads',
    );
  checkOneDnn();
  return tool;
}

function findBuildTool(): BuildTool {
  const make = works('make');
  if (works('cmake') && (make || works('ninja'))) return { name: 'cmake' };
  const program = make && works('python3') ? findNodeGyp() : null;
  if (program !== null) return { name: 'node-gyp', program };
  throw install('neither CMake with make or ninja, nor node-gyp with make and python3', 'cmake make');
}

/** npm brings a node-gyp of its own and says where to what it runs; a project may have one too. */
function findNodeGyp(): string | null {
  const bundled = process.env.npm_config_node_gyp;
  if (bundled && existsSync(bundled)) return bundled;
  const fromProject = createRequire(join(process.cwd(), 'package.json'));
  try {
    return fromProject.resolve('node-gyp/bin/node-gyp.js');
  } catch {
    return null;
  }
}

/** Where CMakeLists.txt looks. */
function hasNvcc(): boolean {
  const { CUDACXX, CUDA_HOME, CUDA_PATH } = process.env;
  const prefixes = [CUDA_HOME, CUDA_PATH, '/usr/local/cuda'].filter((prefix) => prefix !== undefined);
  return works('nvcc') || [CUDACXX, ...prefixes.map((prefix) => join(prefix, 'bin', 'nvcc'))].some((path) => path && works(path));
}

function checkOneDnn(): void {
  const { hasOneDnn, installLine } = createRequire(__filename)(join(packageRoot, 'scripts', 'onednn.cjs')) as {
    hasOneDnn(): boolean;
    installLine: string;
  };
  if (hasOneDnn()) return;
  throw new DeviceError(
    `build: oneDNN, which the CPU backend needs, was not found. Install it with:\n  ${installLine}\n` +
      'Elsewhere than on Debian and Ubuntu it may be called onednn-devel; CPATH and LIBRARY_PATH may say where it is.',
  );
}

/** Node's own headers where they lie beside its executable, so that node-gyp need not download them. */
export function localNodeHeaders(): NodeJS.ProcessEnv {
  const prefix = join(dirname(process.execPath), '..');
  const given = process.env.npm_config_nodedir;
  return !given && existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? { npm_config_nodedir: prefix } : {};
}
