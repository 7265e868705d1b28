import { randomBytes } from 'node:crypto';
import { access, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FileFormatError } from '../errors.js';
import { isSystemError, makeFolders, writeFileAtomic } from '../files/atomic.js';

/** Checkpoints of a run that stay; older ones are removed. */
const kept = 2;

/** Names the newest checkpoint; while one takes its place, its name and below it that of the one before. */
const pointer = 'latest';

/** Written last into a checkpoint, so that one that has it is whole. */
export const descriptionFile = 'trainer.json';

/** What a folder of a checkpoint is called. */
export const checkpointName = /^checkpoint-\d+$/;

/** Cleared away by `prepare` where it is left behind. */
const temporaryName = (name: string) => `.${name}.${randomBytes(6).toString('hex')}.tmp`;

/**
 * The folder of a run: `checkpoint-<step>` folders and a file `latest` with the name of the newest. A checkpoint is written beside
 * its place and renamed when it is whole; whatever fails before, those that were there stay. A run removes only its own.
 */
export class CheckpointFolder {
  readonly path: string;
  /** Those of this run, oldest first. */
  readonly #own: string[];
  #prepared: Promise<void> | undefined;

  /** `own` are the names of the checkpoints that the run has written so far, oldest first. */
  constructor(path: string, own: readonly string[] = []) {
    this.path = path;
    this.#own = [...own];
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
      else if (replaced !== undefined || /^\.(checkpoint-\d+|latest)\.[0-9a-f]+\.tmp$/.test(name))
        await rm(join(this.path, name), { recursive: true });
    }
  }

  /**
   * Writes the checkpoint of a step with `fill`, which gets a folder to write into and the names of the run's other checkpoints.
   * @returns its path
   * @throws FileFormatError naming the file when the system refuses.
   */
  async write(step: number, fill: (folder: string, others: readonly string[]) => Promise<void>): Promise<string> {
    await this.prepare();
    const name = `checkpoint-${step}`;
    const path = join(this.path, name);
    const temporary = join(this.path, temporaryName(name));
    const others = this.#own.filter((own) => own !== name);
    try {
      await mkdir(temporary);
      await fill(temporary, others);
      await this.#announce(name);
      await this.#replace(name, temporary);
      await writeFileAtomic(join(this.path, pointer), `${name}\n`);
      this.#own.splice(0, this.#own.length, ...others, name);
      for (; this.#own.length > kept; this.#own.shift()) await this.#remove(this.#own[0] as string);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
      throw named(error, `cannot write checkpoint '${path}'`);
    }
    return path;
  }

  /** From here on the checkpoint is the newest as soon as it has its name, even if nothing else is written any more. */
  async #announce(name: string): Promise<void> {
    const before = await this.#named();
    if (before === undefined || (await exists(join(this.path, name)))) return;
    await writeFileAtomic(join(this.path, pointer), `${name}\n${before}\n`);
  }

  /** Never leaves half a folder under its name. */
  async #remove(name: string): Promise<void> {
    const removed = join(this.path, temporaryName(name));
    try {
      await rename(join(this.path, name), removed);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await rm(removed, { recursive: true });
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
    const named = await this.#named();
    if (named !== undefined) return named;
    const steps = (await readdir(this.path)).flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.slice(1).map(Number) ?? []);
    for (const step of steps.sort((a, b) => b - a)) if (await this.#isWhole(`checkpoint-${step}`)) return `checkpoint-${step}`;
    throw new FileFormatError(`there is no checkpoint in '${this.path}'`);
  }

  /** The first checkpoint named in `latest` that is whole. */
  async #named(): Promise<string | undefined> {
    const text = await readFile(join(this.path, pointer), 'utf8').catch(() => '');
    for (const line of text.split('\n').map((line) => line.trim()))
      if (checkpointName.test(line) && (await this.#isWhole(line))) return line;
    return undefined;
  }

  #isWhole(name: string): Promise<boolean> {
    return exists(join(this.path, name, descriptionFile));
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
