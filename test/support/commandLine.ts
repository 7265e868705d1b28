import { vi } from 'vitest';
import { run } from '../../lib/cli/program.js';

/** How a command ended, and what it printed. */
export interface CommandResult {
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs the command line program in this process. */
export async function commandLine(...argv: string[]): Promise<CommandResult> {
  const printed = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).flatMap((stream) => {
    const take = (text: unknown) => {
      printed[stream] += String(text);
      return true;
    };
    const line = (text: unknown) => void take(`${text}\n`);
    return [
      vi.spyOn(process[stream], 'write').mockImplementation(take),
      vi.spyOn(console, stream === 'stdout' ? 'log' : 'error').mockImplementation(line),
    ];
  });
  try {
    return { status: await run(argv), ...printed };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
