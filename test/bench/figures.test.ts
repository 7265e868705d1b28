import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../support/temporaryFolder.js';

const built = join(__dirname, '../../dist/bench');
const reason = existsSync(join(built, 'figures/main.js')) ? undefined : 'skipped: dist is not built, run `npm run build:ts`';
const folder = temporaryFolder();
const output = join(folder, 'output');

/** Big-endian header of an IDX file, and its values. */
function writeIdx(name: string, extents: number[], values: Uint8Array): void {
  const header = Buffer.alloc(4 + 4 * extents.length);
  header.writeUInt32BE(0x0800 + extents.length);
  for (const [axis, extent] of extents.entries()) header.writeUInt32BE(extent, 4 + 4 * axis);
  writeFileSync(join(folder, 'data', name), Buffer.concat([header, values]));
}

/** Bars, at a place that tells the class, of varying height. */
function writeImages(part: 'train' | 't10k', count: number): void {
  const [size, labels] = [28, Uint8Array.from({ length: count }, (_, i) => i % 10)];
  const images = new Uint8Array(count * size * size);
  for (const [i, label] of labels.entries())
    for (let row = 3; row < 12 + (i % 7) * 2; row++)
      for (let column = 0; column < 3; column++) images[(i * size + row) * size + 2 + label * 2 + column] = 255 - (i % 5) * 20;
  writeIdx(`${part}-images-idx3-ubyte`, [count, size, size], images);
  writeIdx(`${part}-labels-idx1-ubyte`, [count], labels);
}

/** Output and exit status of a program on these images. */
async function run(program: string, ...options: string[]): Promise<{ status: number; text: string }> {
  const args = [join(built, program), '--quick', '--data', join(folder, 'data'), '--output', output, ...options];
  const child = promisify(execFile)(process.execPath, args);
  return child.then(
    ({ stdout }) => ({ status: 0, text: stdout }),
    (error) => ({ status: error.code, text: `${error.stdout}${error.stderr}` }),
  );
}

const read = (name: string) => JSON.parse(readFileSync(join(output, name), 'utf8'));

describe.skipIf(reason)(`the programs on real data${reason ? `: ${reason}` : ''}`, () => {
  test.each(['figures/main.js', 'learnedVariance.js'])('%s says what is wrong, and how it is used', async (program) => {
    expect(await run(program, '--help')).toMatchObject({ status: 0, text: expect.stringContaining('--threads <n>') });
    for (const wrong of [['--loud'], ['--threads', 'two'], ['extra']])
      expect(await run(program, ...wrong)).toMatchObject({ status: 2, text: expect.stringMatching(/^error: .*\n$/) });
    const empty = await run(program, '--data', join(folder, 'nothing'));
    expect(empty).toMatchObject({ status: 1, text: expect.stringMatching(/^error: .*must hold .*\n$/) });
  });

  test('draw every figure, measure every point, and take up what was done before', async () => {
    mkdirSync(join(folder, 'data'));
    writeImages('train', 240);
    writeImages('t10k', 80);
    const first = await run('figures/main.js');
    expect(first, first.text).toMatchObject({ status: 0 });
    expect(first.text).toContain('cosine-learned: trained');

    const result = read('figures.json');
    expect(result).toMatchObject({ benchmark: 'figures quick', samples: 40, data: { learnedFrom: 240, others: 80 } });
    expect(result.skippedSteps.map((curve: { name: string }) => curve.name)).toEqual(['linear', 'cosine']);
    expect(result.samplingSteps).toHaveLength(3);
    for (const { points } of [...result.skippedSteps, ...result.samplingSteps])
      for (const { frechet, slicedWasserstein } of points)
        for (const { value, error } of [frechet, slicedWasserstein]) {
          expect(value).toBeGreaterThan(0);
          expect(error).toBeGreaterThan(0);
        }
    // Real images are nearer to the data than what twenty steps of training draw.
    const [{ points }] = result.samplingSteps;
    expect(result.imagesNotLearnedFrom.slicedWasserstein.value).toBeLessThan(points.at(-1).slicedWasserstein.value);
    expect(result.claims.map(({ holds }: { holds: unknown }) => typeof holds)).toEqual(new Array(4).fill('boolean'));

    expect(result.files).toHaveLength(8);
    for (const name of result.files as string[]) {
      const { format, width } = await sharp(join(output, name)).metadata();
      expect(format).toBe(name.endsWith('svg') ? 'svg' : 'png');
      expect(width).toBeGreaterThan(300);
    }
    const chart = readFileSync(join(output, 'sampling-steps.svg'), 'utf8');
    for (const text of ['learned variance', 'sampling steps', 'images not learned from']) expect(chart).toContain(text);

    const second = await run('figures/main.js');
    expect(second.text).not.toContain('trained');
    expect(second.text).not.toMatch(/steps-0:/);
    const again = read('figures.json');
    for (const part of ['skippedSteps', 'samplingSteps', 'imagesNotLearnedFrom', 'claims', 'classifierAccuracy'])
      expect(again[part]).toEqual(result[part]);
  });

  test('compare bits per dimension, and say by the exit status how it came out', async () => {
    const { status, text } = await run('learnedVariance.js', '--images', '6');
    const result = read('learned-variance.json');
    expect(status, text).toBe(result.holds ? 0 : 1);
    expect(result).toMatchObject({ benchmark: 'learned-variance quick', images: 6, evaluationsPerImage: 100 });
    const bits = (variance: string) => result.variances[variance].bitsPerDimension.value;
    for (const variance of ['fixedSmall', 'fixedLarge']) {
      expect(bits(variance)).toBeGreaterThan(0);
      expect(result.lowerBy[variance].value).toBeCloseTo(bits(variance) - bits('learnedRange'), 3);
    }
    const sure = Object.values(result.lowerBy as Record<string, { value: number; error: number }>);
    expect(result.holds).toBe(sure.every(({ value, error }) => value > 2 * error));
  });

  test('say what a folder without the data lacks', async () => {
    const { status, text } = await run('figures/main.js', '--data', folder);
    expect(status).toBe(1);
    expect(text).toContain('must hold train-images-idx3-ubyte');
  });
});
