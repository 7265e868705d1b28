import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** What trainee.cjs prints. */
export interface Said {
  /** The step that it goes on from. */
  begin?: number;
  step?: number;
  loss?: number;
  gradientNorm?: number;
  at?: number;
  rss?: number;
  /** Hash of the averaged weights after the last step. */
  end?: string;
}

/** A training process. */
export interface Trainee {
  process: ChildProcess;
  said: Said[];
  /** The first line has come, or the process has ended. */
  begun: Promise<void>;
  /** Resolves with the exit code or the signal once all that was printed is in `said`. */
  ended: Promise<number | NodeJS.Signals>;
  errors(): string;
}

export function train(folder: string, last: number, every: number, flags: string[] = [], env: NodeJS.ProcessEnv = {}): Trainee {
  const program = [...flags, join(__dirname, 'trainee.cjs'), folder, String(last), String(every)];
  const child = spawn(process.execPath, program, { env: { ...process.env, ...env } });
  const said: Said[] = [];
  let errors = '';
  child.stderr.on('data', (text) => {
    errors += text;
  });
  const lines = createInterface({ input: child.stdout });
  const begun = new Promise<void>((resolve) => lines.once('line', () => resolve()).once('close', () => resolve()));
  lines.on('line', (line) => {
    // The last line of a killed process may be cut off.
    if (line.endsWith('}')) said.push(JSON.parse(line));
  });
  const printed = new Promise<void>((resolve) => lines.once('close', () => resolve()));
  const exited = new Promise<number | NodeJS.Signals>((resolve) =>
    child.once('exit', (code, signal) => resolve(signal ?? code ?? -1)),
  );
  const ended = Promise.all([exited, printed]).then(([how]) => how);
  return { process: child, said, begun, ended, errors: () => errors };
}

/** The step of the newest complete checkpoint in a folder, 0 without one: told without the library's own means. */
export function newestComplete(folder: string): number {
  if (!existsSync(folder)) return 0;
  const steps = readdirSync(folder).flatMap((name) => {
    const step = /^\.?checkpoint-(\d+)(\.previous)?$/.exec(name)?.[1];
    return step !== undefined && existsSync(join(folder, name, 'trainer.json')) ? [Number(step)] : [];
  });
  return Math.max(0, ...steps);
}
