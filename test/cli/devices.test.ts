import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, expect, test } from 'vitest';
import { commandLine } from '../support/commandLine.js';
import { eachDevice } from '../support/devices.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const root = temporaryFolder();
const pictures = join(root, 'pictures.idx');
const network = '--base-channels 8 --channel-mults 1 --res-blocks 1 --attention 4 --groups 4'.split(' ');

/** Four pictures of 4×4 shades in an IDX file: magic, count, height, width, pixels. */
beforeAll(() => {
  const pixels = Array.from({ length: 4 * 16 }, (_, i) => (i * 37) & 255);
  writeFileSync(pictures, Uint8Array.from([0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, ...pixels]));
});

eachDevice((id, open) => {
  test('train and sample compute there, in every element type that it has', async () => {
    const { bf16 } = (await open()).info;
    for (const dtype of bf16 ? ['f32', 'bf16'] : ['f32']) {
      const run = join(root, `${id}-${dtype}`);
      const where = ['--device', id, '--dtype', dtype];
      const data = ['--data', pictures, '--batch-size', '2', '--steps', '1', '--output', run, '--json'];
      const trained = await commandLine('train', ...data, ...network, ...where);
      expect(trained.stderr).not.toMatch(/error/);
      expect(trained.status).toBe(0);
      const { device, loss } = JSON.parse(trained.stdout);
      expect(device.split(':')[0]).toBe(id);
      expect(loss).toBeGreaterThan(0);
      const model = dtype === 'f32' ? run : join(run, 'pipeline');
      const output = join(root, `${id}-${dtype}.png`);
      const sampled = await commandLine('sample', '--model', model, ...where, '--count', '1', '--steps', '1', '--output', output);
      expect(sampled.status).toBe(0);
      expect(await sharp(output).metadata()).toMatchObject({ width: 4, height: 4 });
    }
  });

  test('bf16 is refused where it cannot be computed', async () => {
    if ((await open()).info.bf16) return;
    const run = join(root, `${id}-refused`);
    const data = ['--data', pictures, '--output', run, '--steps', '1'];
    const { status, stderr } = await commandLine('train', ...data, ...network, '--device', id, '--dtype', 'bf16');
    expect(stderr).toMatch(/^error: .*bf16/);
    expect(status).toBe(1);
    expect(existsSync(run)).toBe(false);
  });
});
