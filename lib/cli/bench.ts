import { join } from 'node:path';
import type { Command } from 'commander';

/** Built from bench/, which imports this package: so it is known here by its place only. */
const path = join(__dirname, '..', '..', 'dist', 'bench', 'command.js');

/** `diffusion-native bench` and `diffusion-native report` */
export function addBenchCommands(program: Command): void {
  const bench = require(path) as { addBenchCommands(program: Command): void };
  bench.addBenchCommands(program);
}
