// The commands of the command line program that belong to the bench suite; lib/cli loads this file by its path in the package.
import type { Command } from 'commander';

/** Adds them to the program. */
export function addBenchCommands(_program: Command): void {}
