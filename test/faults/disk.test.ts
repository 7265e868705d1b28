import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Device, FileFormatError, openDevice, Trainer, UNet } from '../../lib/index.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { bitsOf, take, tinyData, tinyTrainer } from '../train/tiny.js';
import { note, times } from './long.js';

// A disk of 4 MB in memory, which only root may mount; checkpoint.test.ts has an injected ENOSPC for all others.
const disk = join(temporaryFolder(), 'disk');
mkdirSync(disk);
const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', disk]).status === 0;
const why = mounted ? '' : ' (skipped: a file system cannot be mounted here)';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu', { threads: 1 });
});
afterAll(async () => {
  if (mounted) execFileSync('umount', ['-l', disk]);
  await device.close();
});

const resume = (directory: string) => Trainer.resume(directory, { device, data: tinyData() });

/** Leaves so many bytes on the disk. */
async function fillUpTo(bytes: number): Promise<void> {
  await rm(join(disk, 'filler'), { force: true });
  const { bavail, bsize } = await statfs(disk);
  await writeFile(join(disk, 'filler'), new Uint8Array(Math.max(0, bavail * bsize - bytes)));
}

describe.skipIf(!mounted)(`a small disk${why}`, () => {
  test('that is full at any place of a checkpoint: an error that says so, and the one before is whole', async () => {
    const directory = join(disk, 'run');
    const trainer = tinyTrainer(device, { directory });
    await take(trainer, 1);
    await trainer.save();
    const saved = await bitsOf(trainer);
    await take(trainer, 1);
    const { bavail, bsize } = await statfs(disk);
    const before = bavail * bsize;
    await trainer.save();
    const after = await statfs(disk);
    const needed = before - after.bavail * after.bsize;
    await rm(join(directory, 'checkpoint-2'), { recursive: true });
    await writeFile(join(directory, 'latest'), 'checkpoint-1\n');

    const places = times(12, 100);
    for (let place = 0; place < places; place++) {
      await fillUpTo(Math.floor((needed * place) / places));
      const failure = await trainer.save().catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(FileFormatError);
      expect((failure as Error).message).toMatch(/^cannot write '.*checkpoint-2.*no space left on device/);
      expect((await readdir(directory)).sort()).toEqual(['checkpoint-1', 'latest']);
      using again = await resume(directory);
      expect(again.step).toBe(1);
      expect(await bitsOf(again)).toEqual(saved);
    }
    await rm(join(disk, 'filler'));
    await trainer.save();
    using again = await resume(directory);
    expect(await bitsOf(again)).toEqual(await bitsOf(trainer));
    note({ places });
    trainer.dispose();
    await rm(directory, { recursive: true });
  });

  test('that is full while weights are saved over older ones: those stay', async () => {
    const folder = join(disk, 'model');
    const options = { imageSize: 8, baseChannels: 8, channelMults: [1], resBlocks: 1, attentionResolutions: [] };
    using first = new UNet(device, { ...options, seed: 1 });
    using second = new UNet(device, { ...options, seed: 2 });
    await first.save(folder);
    const names = await readdir(folder);
    const contents = () => Promise.all(names.map((name) => readFile(join(folder, name), 'hex')));
    const before = await contents();
    await fillUpTo(8192);
    await expect(second.save(folder)).rejects.toThrow(/cannot write .*no space left on device/);
    expect(await readdir(folder)).toEqual(names);
    expect(await contents()).toEqual(before);
    await rm(join(disk, 'filler'));
    await rm(folder, { recursive: true });
  });

  test('that becomes read-only: an error that says so; reading goes on', async () => {
    const directory = join(disk, 'run');
    const trainer = tinyTrainer(device, { directory });
    await take(trainer, 1);
    await trainer.save();
    await mkdir(join(disk, 'empty'));
    execFileSync('mount', ['-o', 'remount,ro', disk]);
    try {
      await take(trainer, 1);
      await expect(trainer.save()).rejects.toThrow(FileFormatError);
      await expect(trainer.save()).rejects.toThrow(/cannot write checkpoint '.*checkpoint-2': .*read-only file system/);
      const fresh = tinyTrainer(device, { directory: join(disk, 'empty', 'run') });
      await expect(take(fresh, 1)).rejects.toThrow(/cannot keep checkpoints in .*read-only file system/);
      expect(fresh.step).toBe(0);
      using again = await resume(directory);
      expect(again.step).toBe(1);
    } finally {
      execFileSync('mount', ['-o', 'remount,rw', disk]);
    }
    expect(trainer.step).toBe(2);
    await trainer.save();
    using again = await resume(directory);
    expect(await bitsOf(again)).toEqual(await bitsOf(trainer));
  });
});
