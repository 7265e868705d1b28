import { spawn } from 'node:child_process';
import { access, constants, mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DeviceError } from '../errors.js';
import { cacheFolder, packageRoot } from '../nativeFiles.js';
import { Progress } from './progress.js';
import { type BuildTool, localNodeHeaders } from './toolchain.js';

/** What is shown of the output of a tool that failed. */
const linesShown = 60;

interface CompileOptions {
  cuda: boolean;
  jobs?: number;
  signal: AbortSignal;
}

/** Compiles the native files and gives the folder that they are in afterwards. Throws DeviceError with the tool's output. */
export async function compile(tool: BuildTool, options: CompileOptions): Promise<string> {
  return tool.name === 'cmake' ? withCMake(options) : withNodeGyp(tool.program, options);
}

async function withCMake({ cuda, jobs = availableParallelism(), signal }: CompileOptions): Promise<string> {
  const inside = join(packageRoot, 'out', 'cmake');
  const folder = (await isWritable(inside)) ? inside : cacheFolder();
  const features = cuda ? ['-DDIFFUSION_CUDA=ON'] : []; // without it a folder keeps what it was configured for
  await runTool('cmake', ['-S', packageRoot, '-B', folder, `-DNODE_EXECUTABLE=${process.execPath}`, ...features], { signal });
  await runTool('cmake', ['--build', folder, '--parallel', String(jobs)], { signal });
  return join(folder, 'Release');
}

async function withNodeGyp(program: string, { jobs = availableParallelism(), signal }: CompileOptions): Promise<string> {
  if (!(await isWritable(join(packageRoot, 'build'))))
    throw new DeviceError(
      `build: ${packageRoot} cannot be written to, and only CMake builds in another folder. Install it with:\n` +
        '  sudo apt-get update && sudo apt-get install -y cmake make',
    );
  const env = { ...localNodeHeaders(), JOBS: String(jobs) };
  await runTool(process.execPath, [program, 'rebuild', `--directory=${packageRoot}`], { signal, env });
  return join(packageRoot, 'build', 'Release');
}

/** Makes the folder if it is not there. */
async function isWritable(folder: string): Promise<boolean> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs a program to its end, showing the progress that CMake's generators print: '[3/45]' or '[ 12%]'. */
async function runTool(command: string, args: string[], { signal, env }: { signal: AbortSignal; env?: NodeJS.ProcessEnv }) {
  signal.throwIfAborted();
  // A process group of its own, so that an interrupt ends the compilers too.
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const stop = () => child.pid !== undefined && process.kill(-child.pid, 'SIGTERM');
  signal.addEventListener('abort', stop);
  const last: string[] = [];
  let progress: Progress | undefined;
  let finished = 0;
  const onLine = (line: string) => {
    last.push(line);
    if (last.length > linesShown) last.shift();
    const [, done, total = '100'] = /^\[\s*(\d+)(?:\/(\d+)|%)\]/.exec(line) ?? [];
    if (Number(done ?? 0) <= finished) return;
    finished = Number(done);
    progress ??= new Progress('compiling', Number(total));
    progress.update(finished);
  };
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', onLine);
  try {
    const status = await new Promise<string>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, killed) => resolve(killed ?? String(code)));
    });
    signal.throwIfAborted();
    if (status !== '0')
      throw new DeviceError(`build: '${[command, ...args].join(' ')}' ended with ${status}:\n${last.join('\n')}`);
  } finally {
    signal.removeEventListener('abort', stop);
    progress?.stop();
  }
}
