import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { commandLine } from '../support/commandLine.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const root = temporaryFolder();
const pictures = join(root, 'pictures.idx');
const labels = join(root, 'labels.idx');
const network = '--base-channels 8 --channel-mults 1 --res-blocks 1 --attention 4 --groups 4 --batch-size 2'.split(' ');

/** Nine pictures of 4×6 shades and their classes, in IDX files. */
beforeAll(async () => {
  const pixels = Array.from({ length: 9 * 24 }, (_, i) => (i * 37) & 255);
  writeFileSync(pictures, Uint8Array.from([0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 4, 0, 0, 0, 6, ...pixels]));
  writeFileSync(labels, Uint8Array.from([0, 0, 8, 1, 0, 0, 0, 9, 0, 1, 0, 1, 0, 1, 0, 1, 0]));
  const given = ['--data', pictures, '--device', 'cpu', '--steps', '2', ...network];
  expect((await commandLine('train', ...given, '--output', join(root, 'plain'))).status).toBe(0);
  const classes = ['--labels', labels, '--classes', '--prediction', 'v'];
  expect((await commandLine('train', ...given, ...classes, '--output', join(root, 'classes'))).status).toBe(0);
});
const evaluate = (model: string, ...more: string[]) =>
  commandLine('evaluate', join(root, model), '--data', pictures, '--device', 'cpu', '--steps', '3', ...more);

test('a table of the loss by quarter of the timesteps, and the distance of samples', async () => {
  const { status, stdout, stderr } = await evaluate('plain', '--samples', '4', '--bits', '3');
  expect(stderr).toMatch(/^loss 4\/4/m);
  expect(stderr).toMatch(/^sample 3\/3/m);
  expect(status).toBe(0);
  for (const range of ['0–249', '250–499', '500–749', '750–999', 'all'])
    expect(stdout).toMatch(new RegExp(`^${range} +\\d\\.\\d+ +±\\d`, 'm'));
  expect(stderr).toMatch(/^bits\/dim 1000\/1000/m);
  expect(stdout).toMatch(/^bits\/dim +\d+\.\d+ +±\d.*, of 3 images$/m);
  expect(stdout).toMatch(/^sliced Wasserstein distance of 4 images/m);
  expect(stdout).toMatch(/^samples +\d\.\d+ from the data$/m);
  expect(stdout).toMatch(/^data +\d\.\d+ from other data$/m);
});

test('as JSON; the same from a run, its checkpoint and its pipeline, and by the same seed', async () => {
  const file = join(root, 'result.json');
  expect(
    (await evaluate('classes', '--labels', labels, '--json', file, '--seed', '4', '--count', '8', '--bits', '2')).status,
  ).toBe(0);
  const result = JSON.parse(readFileSync(file, 'utf8'));
  expect(result).toMatchObject({
    model: join(root, 'classes'),
    images: 8,
    seed: 4,
    prediction: 'v',
    bitsPerDimension: { images: 2, bitsPerDimension: expect.any(Number), standardError: expect.any(Number) },
    device: 'cpu',
  });
  expect(result.quartiles).toHaveLength(4);
  expect(result.quartiles[0]).toEqual({ first: 0, last: 249, mse: expect.any(Number), standardError: expect.any(Number) });
  const { sampleQuality } = result;
  expect(sampleQuality).toMatchObject({ measure: 'slicedWasserstein', samples: 9, directions: 256, method: 'ddim', steps: 3 });
  expect(sampleQuality.dataToData).toBeNull(); // nine images, no other nine
  for (const model of ['classes/checkpoint-2', 'classes/pipeline']) {
    const { stdout } = await evaluate(model, '--labels', labels, '--json', '--seed', '4', '--count', '8', '--bits', '2');
    const { mse, quartiles, sampleQuality } = JSON.parse(stdout);
    expect({ mse, quartiles, sampleQuality }).toEqual({
      mse: result.mse,
      quartiles: result.quartiles,
      sampleQuality: result.sampleQuality,
    });
  }
  const other = JSON.parse((await evaluate('classes', '--labels', labels, '--json', '--samples', '0', '--bits', '0')).stdout);
  expect(other.mse).not.toBe(result.mse);
  expect([other.sampleQuality, other.bitsPerDimension]).toEqual([null, null]);
});

test.each<[string[], number, RegExp]>([
  [['--samples', '-1'], 2, /'--samples <n>'/],
  [['--method', 'euler'], 2, /Allowed choices are ddpm, ddim/],
  [['--channels', '1'], 2, /^error: evaluate: --channels goes only with a folder/],
  [['--size', '8'], 1, /the data are 8×8, the model is for 4×6/],
  [['--device', 'tpu'], 1, /^error: no device 'tpu'/],
])('%j ends with status %i', async (more, status, message) => {
  expect(await evaluate('plain', ...more)).toMatchObject({ status, stdout: '', stderr: expect.stringMatching(message) });
});

test('a model with classes needs data with classes; no model, no data', async () => {
  expect(await evaluate('classes')).toMatchObject({ status: 1, stderr: expect.stringMatching(/2 classes.*no labels/) });
  expect(await evaluate('none')).toMatchObject({ status: 1, stderr: expect.stringMatching(/neither a pipeline folder/) });
  expect(await commandLine('evaluate', '--data', pictures)).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/argument 'model'/),
  });
  expect(await commandLine('evaluate', root)).toMatchObject({ status: 2, stderr: expect.stringMatching(/--data <path>/) });
});

test('Ctrl-C leaves with status 1 and no result', async () => {
  const measuring = evaluate('plain', '--batch-size', '1', '--method', 'ddpm', '--steps', '1000', '--json');
  setTimeout(() => process.emit('SIGINT'), 300);
  expect(await measuring).toMatchObject({ status: 1, stdout: '', stderr: expect.stringMatching(/interrupted\n$/) });
});
