import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { openDevice } from '../../lib/index.js';
import { silu } from '../../lib/ops/elementwise.js';
import { missing } from './cases.js';

const library = JSON.stringify(join(__dirname, '..', '..', 'dist', 'index.js'));

function start(program: string): Worker {
  const head = `const { parentPort } = require('node:worker_threads');\nconst { openDevice, ops } = require(${library});\n`;
  return new Worker(`${head}(async () => {${program}})();`, { eval: true });
}

const message = (worker: Worker) =>
  new Promise<unknown>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`the worker ended with ${code}`)));
  });

const compute = `
  const device = await openDevice('emulator');
  let sum = 0;
  for (let round = 0; round < 15; round++) {
    const x = device.randn([3, 7, 5, 12], { seed: round });
    const y = ops.groupNorm(ops.add(x, x), device.full([12], 1), device.full([12], 0), { groups: 4 });
    sum += (await y.read())[round * 7];
    y.dispose();
  }
  await device.close();
  parentPort.postMessage(sum);`;

describe.skipIf(missing)(`the emulator in several workers${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('three compute at once, with the same results', async () => {
    const workers = [start(compute), start(compute), start(compute)];
    const sums = await Promise.all(workers.map(message));
    expect(sums[0]).not.toBe(0);
    expect(Number.isFinite(sums[0])).toBe(true);
    expect(sums).toEqual([sums[0], sums[0], sums[0]]);
    await Promise.all(workers.map((worker) => worker.terminate()));
  });

  test('one goes on when another is terminated under load', async () => {
    const device = await openDevice('emulator');
    for (let round = 0; round < 3; round++) {
      const worker = start(`
        const device = await openDevice('emulator');
        const x = device.randn([20_000], { seed: 1 });
        parentPort.postMessage('running');
        for (;;) { for (let i = 0; i < 20; i++) ops.silu(x).dispose(); await device.synchronize(); }`);
      expect(await message(worker)).toBe('running');
      const value = silu(device.full([2], 0)).read();
      await worker.terminate();
      expect((await value)[0]).toBe(0);
    }
    await device.close();
  });
});
