import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, expect, test } from 'vitest';
import { commandLine } from '../support/commandLine.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const root = temporaryFolder();
const pictures = join(root, 'pictures.idx');
const network = '--base-channels 8 --channel-mults 1 --res-blocks 1 --attention 4 --groups 4 --batch-size 2'.split(' ');

/** Four pictures of 4×6 shades in an IDX file: magic, count, height, width, pixels. */
beforeAll(() => {
  const pixels = Array.from({ length: 4 * 24 }, (_, i) => (i * 37) & 255);
  writeFileSync(pictures, Uint8Array.from([0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 6, ...pixels]));
});

const train = (run: string, ...more: string[]) =>
  commandLine('train', '--data', pictures, '--device', 'cpu', '--output', join(root, run), '--json', ...more);
const stepsOf = (run: string) =>
  readFileSync(join(root, run, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).step);
const count = (to: number) => Array.from({ length: to }, (_, i) => i + 1);

test('train writes metrics and a loss curve, with --preview pictures, and goes on with them', async () => {
  const { stdout, status, stderr } = await train('a', ...network, '--steps', '5', '--preview', '2');
  expect(stderr).not.toMatch(/error/);
  expect(status).toBe(0);
  expect(JSON.parse(stdout).metrics).toBe(join(root, 'a/metrics.jsonl'));
  expect(stepsOf('a')).toEqual(count(5));
  expect(readdirSync(join(root, 'a/previews'))).toEqual([2, 4, 5].map((step) => `step-0000000${step}.png`));
  // Four times four pictures, each 4×6 enlarged by 21, with gaps of two pixels.
  expect(await sharp(join(root, 'a/previews/step-00000002.png')).metadata()).toMatchObject({ height: 342, width: 510 });
  expect(await sharp(join(root, 'a/loss.png')).metadata()).toMatchObject({ format: 'png' });
  expect((await train('a', '--resume', '--steps', '2')).status).toBe(0);
  expect(stepsOf('a')).toEqual(count(7));
  expect(readdirSync(join(root, 'a/previews'))).toHaveLength(3);
  expect((await train('a', '--resume', '--steps', '1', '--preview')).status).toBe(0);
  expect(readdirSync(join(root, 'a/previews'))).toHaveLength(4);
});

test('Ctrl-C leaves every step in the metrics, up to the checkpoint', async () => {
  const training = train('b', ...network, '--steps', '1000000');
  setTimeout(() => process.emit('SIGINT'), 1000);
  const { stdout, status } = await training;
  expect(status).toBe(0);
  const { step } = JSON.parse(stdout);
  expect(step).toBeGreaterThan(0);
  expect(stepsOf('b')).toEqual(count(step));
  expect(existsSync(join(root, 'b/loss.svg'))).toBe(true);
});

test('--preview wants a number of steps', async () => {
  expect(await train('c', '--preview', '0')).toMatchObject({ status: 2, stderr: expect.stringMatching(/'--preview \[every\]'/) });
});
