import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../files/atomic.js';
import { loadSharp } from '../files/sharp.js';
import { lossChart } from './chart.js';
import type { LossCurve } from './lossCurve.js';

/** Drawing takes at most this part of the time. */
const share = 0.05;

/** Keeps `loss.svg` and `loss.png` of a run up to date, in the background and one drawing at a time. */
export class CurveFiles {
  readonly #directory: string;
  readonly #curve: LossCurve;
  #drawing: Promise<void> | null = null;
  #notBefore = 0;
  #failure: unknown;

  constructor(directory: string, curve: LossCurve) {
    this.#directory = directory;
    this.#curve = curve;
  }

  /** Begins a drawing unless one is under way or was a moment ago. @throws FileFormatError when an earlier one failed. */
  update(): void {
    if (this.#failure) throw this.#failure;
    if (this.#drawing || performance.now() < this.#notBefore) return;
    const began = performance.now();
    this.#drawing = this.#draw()
      .catch((error) => {
        this.#failure = error;
      })
      .finally(() => {
        const now = performance.now();
        this.#notBefore = now + (now - began) / share;
        this.#drawing = null;
      });
  }

  /** Resolves when no drawing is under way; failures wait for `update` or `finish`. */
  async settled(): Promise<void> {
    await this.#drawing;
  }

  /** Draws all there is. @throws FileFormatError naming the file that cannot be written. */
  async finish(): Promise<void> {
    await this.#drawing;
    if (this.#failure) throw this.#failure;
    await this.#draw();
  }

  async #draw(): Promise<void> {
    const svg = lossChart(this.#curve.points(), this.#curve.last);
    const sharp = await loadSharp();
    const png = await sharp(Buffer.from(svg)).png().toBuffer();
    await writeFileAtomic(join(this.#directory, 'loss.svg'), svg);
    await writeFileAtomic(join(this.#directory, 'loss.png'), png);
  }
}

/** Removes what a killed run left half written, in its folder and that of the previews. */
export async function clearHalfWritten(directory: string, previews: string): Promise<void> {
  for (const [folder, temporary] of [
    [directory, /^\.loss\.(svg|png)\.[0-9a-f]{12}\.tmp$/],
    [join(directory, previews), /^\.step-\d+\.png\.[0-9a-f]{12}\.tmp$/],
  ] as const) {
    const names = await readdir(folder).catch(() => []);
    for (const name of names) if (temporary.test(name)) await rm(join(folder, name), { force: true });
  }
}
