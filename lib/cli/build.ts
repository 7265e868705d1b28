import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type Command, Option } from 'commander';
import type { DeviceInfo } from '../deviceList.js';
import { DeviceError } from '../errors.js';
import { compile } from './compile.js';
import { interruptible } from './interrupt.js';
import { duration, type JsonTarget, say, writeResult } from './output.js';
import { findToolchain } from './toolchain.js';
import { integer, jsonOption } from './values.js';

interface BuildArguments {
  cuda?: boolean;
  jobs?: number;
  json?: JsonTarget;
}

/** `diffusion-native build` */
export function addBuildCommand(program: Command): void {
  program
    .command('build')
    .description('build the native files from source: needs a C++20 compiler, oneDNN, and CMake or node-gyp')
    .addOption(new Option('--cuda', 'the CUDA backend too: needs CMake and the CUDA toolkit 13'))
    .addOption(new Option('--jobs <n>', 'compilers at once (default: one a processor)').argParser(integer(1)))
    .addOption(jsonOption())
    .action((options: BuildArguments) => interruptible((signal) => build(options, signal)));
}

async function build({ cuda = false, jobs, json }: BuildArguments, signal: AbortSignal): Promise<void> {
  const began = performance.now();
  const tool = findToolchain({ cuda });
  console.error(`building with ${tool.name}`);
  const folder = await compile(tool, { cuda, jobs, signal });
  const devices = await check(folder);
  const seconds = (performance.now() - began) / 1000;
  say(json, `built in ${duration(seconds)}: ${folder}`);
  const chosen = process.env.DIFFUSION_NATIVE_PATH;
  if (chosen && resolve(chosen) !== folder)
    console.error(`DIFFUSION_NATIVE_PATH is ${chosen}: as long as it is set, native files are looked for there alone`);
  await writeResult(json, { tool: tool.name, folder, seconds, devices });
}

/** Loads what was built in a process of its own, and gives the devices that it finds. */
async function check(folder: string): Promise<DeviceInfo[]> {
  const env = { ...process.env, DIFFUSION_NATIVE_PATH: folder };
  const main = join(__dirname, 'main.js');
  const { stdout } = await promisify(execFile)(process.execPath, [main, 'devices', '--json'], { env });
  const { devices } = JSON.parse(stdout) as { devices: DeviceInfo[] };
  const cpu = devices.find(({ id }) => id === 'cpu');
  if (!cpu?.available) throw new DeviceError(`build: what was built in ${folder} does not work: ${cpu?.reason}`);
  return devices;
}
