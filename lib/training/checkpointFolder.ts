import { randomBytes } from 'node:crypto';
import { access, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FileFormatError } from '../errors.js';
import { isSystemError, makeFolders, writeFileAtomic } from '../files/atomic.js';

/** Checkpoints of a run that stay; older ones are removed. */
const kept = 2;

/** Names the newest checkpoint. */
const pointer = 'latest';

/** Written last into a checkpoint, so that one that has it is whole. */
export const descriptionFile = 'trainer.json';

/**
 * The folder of a run: `checkpoint-<step>` folders and a file `latest` with the name of the newest. A checkpoint is written beside
 * its place and renamed when it is whole; whatever fails before, those that were there stay. A run removes only its own.
 */
export class CheckpointFolder {
  readonly path: string;
  /** Those of this run, oldest first. */
  readonly #own: string[];
  #prepared: Promise<void> | undefined;

  /** `resumed` is the name of the checkpoint that the run goes on from. */
  constructor(path: string, resumed?: string) {
    this.path = path;
    this.#own = resumed === undefined ? [] : [resumed];
  }

  /**
   * Makes the folder and clears away what an interrupted run left half done; once. Only for the one that writes.
   * @throws FileFormatError when the system refuses.
   */
  prepare(): Promise<void> {
    this.#prepared ??= this.#prepare().catch((error) => {
      this.#prepared = undefined;
      throw named(error, `cannot keep checkpoints in '${this.path}'`);
    });
    return this.#prepared;
  }

  async #prepare(): Promise<void> {
    await makeFolders(this.path);
    for (const name of await readdir(this.path)) {
      const replaced = /^\.(checkpoint-\d+)\.previous$/.exec(name)?.[1];
      if (replaced !== undefined && !(await exists(join(this.path, replaced))))
        await rename(join(this.path, name), join(this.path, replaced));
      else if (replaced !== undefined || /^\.checkpoint-\d+\.[0-9a-f]+\.tmp$/.test(name))
        await rm(join(this.path, name), { recursive: true });
    }
  }

  /**
   * Writes the checkpoint of a step with `fill`, which gets a folder to write into.
   * @returns its path
   * @throws FileFormatError naming the file when the system refuses.
   */
  async write(step: number, fill: (folder: string) => Promise<void>): Promise<string> {
    await this.prepare();
    const name = `checkpoint-${step}`;
    const path = join(this.path, name);
    const temporary = join(this.path, `.${name}.${randomBytes(6).toString('hex')}.tmp`);
    try {
      await mkdir(temporary);
      await fill(temporary);
      await this.#replace(name, temporary);
      await writeFileAtomic(join(this.path, pointer), `${name}\n`);
      const others = this.#own.filter((own) => own !== name);
      for (const old of others.splice(0, others.length - (kept - 1)))
        await rm(join(this.path, old), { recursive: true, force: true });
      this.#own.splice(0, this.#own.length, ...others, name);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
      throw named(error, `cannot write checkpoint '${path}'`);
    }
    return path;
  }

  /** Puts a finished folder in the place of `name`; an older one there is moved aside first. */
  async #replace(name: string, finished: string): Promise<void> {
    const path = join(this.path, name);
    try {
      await rename(finished, path);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
      const previous = join(this.path, `.${name}.previous`);
      await rename(path, previous);
      await rename(finished, path);
      await rm(previous, { recursive: true });
    }
  }

  /**
   * The name of the checkpoint to go on from: the one that `latest` names, or the one of the highest step.
   * @throws FileFormatError naming the folder when there is none.
   */
  async newest(): Promise<string> {
    await this.mustExist();
    const whole = (name: string) => exists(join(this.path, name, descriptionFile));
    const latest = await readFile(join(this.path, pointer), 'utf8').catch(() => '');
    if (/^checkpoint-\d+$/.test(latest.trim()) && (await whole(latest.trim()))) return latest.trim();
    const steps = (await readdir(this.path)).flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.slice(1).map(Number) ?? []);
    for (const step of steps.sort((a, b) => b - a)) if (await whole(`checkpoint-${step}`)) return `checkpoint-${step}`;
    throw new FileFormatError(`there is no checkpoint in '${this.path}'`);
  }

  /** Throws FileFormatError naming the folder when there is none. */
  async mustExist(): Promise<void> {
    if (!(await exists(this.path))) throw new FileFormatError(`there is no checkpoint in '${this.path}': no such folder`);
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function named(error: unknown, what: string): unknown {
  return isSystemError(error) ? new FileFormatError(`${what}: ${error.message}`, { cause: error }) : error;
}
