import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type Device, openDevice, Trainer } from '../../lib/index.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { bitsOf, take, tinyData, tinyTrainer } from '../train/tiny.js';

// What a process leaves that ends between two steps of writing a checkpoint, one by one; kill.test.ts hits them by chance.
const root = temporaryFolder();
let folders = 0;
let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu', { threads: 1 });
});
afterAll(() => device.close());

const resume = (directory: string) => Trainer.resume(directory, { device, data: tinyData() });
const latest = (directory: string) => join(directory, 'latest');

/** A folder with the checkpoints of steps 1 and 2. */
async function twoCheckpoints(): Promise<string> {
  const directory = join(root, `${++folders}`);
  using trainer = tinyTrainer(device, { directory, checkpointEvery: 1 });
  await take(trainer, 2);
  return directory;
}

test('a checkpoint that has its name is the newest, although `latest` was not written again', async () => {
  const directory = await twoCheckpoints();
  await writeFile(latest(directory), 'checkpoint-2\ncheckpoint-1\n');
  using trainer = await resume(directory);
  expect(trainer.step).toBe(2);
});

test('one that was announced and has not come is passed over, also when the next is announced', async () => {
  const directory = await twoCheckpoints();
  await writeFile(latest(directory), 'checkpoint-3\ncheckpoint-1\n');
  using trainer = await resume(directory);
  expect(trainer.step).toBe(1);
  await take(trainer, 1);
  using again = await resume(directory);
  expect(again.step).toBe(2);
});

test('half-written pointers and folders are cleared away, whole checkpoints are not', async () => {
  const directory = await twoCheckpoints();
  await writeFile(join(directory, '.latest.0123456789ab.tmp'), 'checkp');
  await mkdir(join(directory, '.checkpoint-3.0123456789ab.tmp', 'unet'), { recursive: true });
  await writeFile(join(directory, '.checkpoint-3.0123456789ab.tmp', 'unet', 'config.json'), '{');
  await rename(join(directory, 'checkpoint-2'), join(directory, '.checkpoint-2.previous'));
  await writeFile(join(directory, '.mine'), '');
  using trainer = await resume(directory);
  expect(trainer.step).toBe(2);
  expect((await readdir(directory)).sort()).toEqual(['.mine', 'checkpoint-1', 'checkpoint-2', 'latest']);
});

test('a resumed run removes its earlier checkpoints in their turn, and no others', async () => {
  const directory = await twoCheckpoints();
  await mkdir(join(directory, 'checkpoint-0'));
  using trainer = await resume(directory);
  await take(trainer, 1);
  expect((await readdir(directory)).sort()).toEqual(['checkpoint-0', 'checkpoint-2', 'checkpoint-3', 'latest']);
  await rm(join(directory, 'checkpoint-2'), { recursive: true }); // by hand
  await take(trainer, 2);
  expect((await readdir(directory)).sort()).toEqual(['checkpoint-0', 'checkpoint-4', 'checkpoint-5', 'latest']);
  expect(await readFile(latest(directory), 'utf8')).toBe('checkpoint-5\n');
});

test('a description cannot name what the run should remove elsewhere', async () => {
  const directory = await twoCheckpoints();
  const file = join(directory, 'checkpoint-2', 'trainer.json');
  const description = JSON.parse(await readFile(file, 'utf8'));
  expect(description.previous).toEqual(['checkpoint-1']);
  await writeFile(file, JSON.stringify({ ...description, previous: ['../../elsewhere'] }));
  await expect(resume(directory)).rejects.toThrow(/trainer\.json' does not describe a training run: .*checkpoint-<step>/);
  await writeFile(file, JSON.stringify({ ...description, previous: undefined })); // as versions before wrote it
  using trainer = await resume(directory);
  expect(trainer.step).toBe(2);
});

test('the clock of the system plays no part in training, checkpoints and resuming', async () => {
  const [directory, other] = [join(root, `${++folders}`), join(root, `${++folders}`)];
  using whole = tinyTrainer(device, { directory: other, checkpointEvery: 2 });
  const expected = await take(whole, 6);
  const { now } = Date;
  let calls = 0;
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() + (calls++ % 2 === 0 ? 1e12 : -1e12));
  const first = tinyTrainer(device, { directory, checkpointEvery: 2 });
  const losses = await take(first, 3);
  await first.save();
  first.dispose();
  using again = await resume(directory);
  losses.push(...(await take(again, 3)));
  clock.mockRestore();
  expect(losses).toEqual(expected);
  expect(await bitsOf(again)).toEqual(await bitsOf(whole));
  expect((await readdir(directory)).sort()).toEqual(['checkpoint-4', 'checkpoint-6', 'latest']);
});
