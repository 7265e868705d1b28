import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { DiffusionError, OptionError } from '../errors.js';
import { readJson } from '../files/json.js';
import { addBenchCommands } from './bench.js';
import { addBuildCommand } from './build.js';
import { addDevicesCommand } from './devices.js';
import { addEvaluateCommand } from './evaluate.js';
import { addSampleCommand } from './sample.js';
import { addTrainCommand } from './train.js';
import { addVerifyCommand } from './verify.js';

/** Exit statuses of the command line program. */
export const exitStatus = { done: 0, failed: 1, usage: 2 } as const;

const footer = `
Exit status: 0 done, 1 failed, 2 wrong usage. Ctrl-C: train saves a checkpoint and ends with 0, bench keeps what it has
measured and ends with 1, the others write nothing and end with 1.
Environment: DIFFUSION_DEVICE is the default of --device, DIFFUSION_NATIVE_PATH a folder with the native files,
DIFFUSION_PROFILE a file for a trace of every operation's time.`;

/** Runs the program with these arguments and gives its exit status. Problems go to standard error. */
export async function run(argv: readonly string[]): Promise<number> {
  try {
    const { version } = (await readJson(join(__dirname, '..', '..', 'package.json'))) as { version: string };
    const program = new Command('diffusion-native')
      .description('Trains denoising diffusion models on images and draws new ones, natively.')
      .version(version)
      .exitOverride()
      .showHelpAfterError("(add '--help' for the options)")
      .addHelpText('after', footer);
    addBuildCommand(program);
    addDevicesCommand(program);
    addTrainCommand(program);
    addSampleCommand(program);
    addEvaluateCommand(program);
    addVerifyCommand(program);
    addBenchCommands(program);
    await program.parseAsync(argv, { from: 'user' });
    return exitStatus.done;
  } catch (error) {
    return report(error);
  }
}

/** Says what went wrong, and gives the exit status that fits. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitStatus.done : exitStatus.usage;
  const { name, message, stack } = error as Error;
  if (name === 'AbortError') {
    console.error('interrupted');
    return exitStatus.failed;
  }
  console.error(error instanceof DiffusionError ? `error: ${message}` : stack);
  return error instanceof OptionError ? exitStatus.usage : exitStatus.failed;
}
