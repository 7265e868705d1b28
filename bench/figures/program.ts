// The command lines of the programs on real data.
import { Command, Option } from 'commander';
import { DiffusionError, OptionError } from 'diffusion-native';
import { integer } from '#lib/cli/values.js';
import type { CommonValues } from './workshop.js';

/** An option that takes a whole number. */
export const wholeNumber = (flags: string, description: string) => new Option(flags, description).argParser(integer(1));

/** What the command line says; --help ends the program with status 0, wrong usage with 2. */
export function valuesOf<T = object>(script: string, description: string, more: Option): CommonValues & T {
  return new Command(`npm run ${script} --`)
    .description(description)
    .option('--data <folder>', "MNIST's IDX files (default: those beside the repository, else the demo's emoji)")
    .option('--quick', 'next to no training, few samples', false)
    .option(
      '--output <folder>',
      'for all files (default: docs/figures, bench/results and out/figures; out/figures/quick for --quick)',
    )
    .option('--device <id>', "'auto', 'cpu', 'cuda' or 'cuda:1'", process.env.DIFFUSION_DEVICE || 'cpu')
    .addOption(wholeNumber('--threads <n>', 'CPU threads (default: all)'))
    .addOption(more)
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
    .parse()
    .opts();
}

/** Runs it; what fails is said, in a line where it is no fault of the program. */
export function runProgram(main: () => Promise<void>): void {
  main().catch((error) => {
    console.error(error instanceof DiffusionError ? `error: ${error.message}` : error);
    process.exitCode = error instanceof OptionError ? 2 : 1;
  });
}
