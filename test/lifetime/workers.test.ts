import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { openDevice } from '../../lib/index.js';
import { silu } from '../../lib/ops/elementwise.js';

const library = JSON.stringify(join(__dirname, '..', '..', 'dist', 'index.js'));

function start(program: string): Worker {
  return new Worker(
    `const { parentPort } = require('node:worker_threads');\nconst { openDevice, ops } = require(${library});\n${program}`,
    {
      eval: true,
    },
  );
}

const message = (worker: Worker) =>
  new Promise<unknown>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`the worker ended with ${code}`)));
  });

/** The same computation, many times over, on a device of the worker's own. */
const compute = `
  (async () => {
    const device = await openDevice('cpu');
    let sum = 0;
    for (let round = 0; round < 40; round++) {
      const x = device.randn([20_000], { seed: round });
      const y = ops.silu(ops.add(x, x));
      x.dispose();
      sum += (await y.read())[round * 7];
      y.dispose();
    }
    parentPort.postMessage(sum);
  })();`;

test('two workers and the main thread use one device side by side, with the same results', async () => {
  const workers = [start(compute), start(compute)];
  const sums = await Promise.all(workers.map(message));
  const device = await openDevice('cpu');
  expect(Number.isFinite(sums[0])).toBe(true);
  expect(sums[0]).toBe(sums[1]);
  expect((await silu(device.full([2], 0)).read())[0]).toBe(0);
  await device.close();
  await Promise.all(workers.map((worker) => worker.terminate()));
});

test('terminate() under load, again and again', async () => {
  for (let round = 0; round < 10; round++) {
    const worker = start(`
      (async () => {
        const device = await openDevice('cpu');
        const x = device.randn([1_000_000], { seed: 1 });
        parentPort.postMessage('running');
        for (;;) { for (let i = 0; i < 50; i++) ops.silu(x).dispose(); await device.synchronize(); }
      })();`);
    expect(await message(worker)).toBe('running');
    await new Promise((resolve) => setTimeout(resolve, 3 * round));
    await worker.terminate();
  }
  const device = await openDevice('cpu');
  expect((await silu(device.full([2], 0)).read())[0]).toBe(0);
  await device.close();
}, 60_000);
