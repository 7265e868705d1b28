import { expect, test } from 'vitest';
import { ops } from '../../lib/index.js';
import { eachDevice } from '../support/devices.js';
import { onCounted } from './counted.js';

const { add, groupNorm } = ops;

onCounted('sound', (opened) => {
  test('the executor goes on while a read waits for the device', async () => {
    const { device, counts } = opened();
    const x = device.randn([150, 1, 1, 64], { seed: 1 });
    const [gamma, beta, small] = [device.full([64], 2), device.full([64], 1), device.full([3], 1)];
    await device.synchronize();
    const { run } = counts();
    const order: string[] = [];
    const slow = groupNorm(x, gamma, beta, { groups: 32 });
    const read = slow.read().then(() => order.push('read'));
    for (let i = 0; i < 10; i++) add(small, small).dispose();
    while (counts().run < run + 11) await new Promise((resolve) => setTimeout(resolve, 1));
    order.push('enqueued');
    await read;
    expect(order).toEqual(['enqueued', 'read']);
  });
});

eachDevice((_id, open) => {
  test('large reads and writes go in pieces, several at a time, and keep their order', async () => {
    const device = await open();
    const count = 3_000_001; // no multiple of a piece; together more than all pinned memory
    const data = [1, 2, 3].map((scale) => Float32Array.from({ length: count }, (_, i) => scale * i));
    const tensors = data.map((values) => device.tensor(values, [count]));
    const order: number[] = [];
    const read = await Promise.all(
      tensors.map(async (tensor, i) => {
        const values = (await tensor.read()) as Float32Array;
        order.push(i);
        return values;
      }),
    );
    expect(order).toEqual([0, 1, 2]);
    for (const [i, values] of read.entries())
      expect(Buffer.from(values.buffer).equals(Buffer.from(data[i]?.buffer as ArrayBuffer))).toBe(true);
    for (const tensor of tensors) tensor.dispose();
  });

  test('more reads than may be under way', async () => {
    const device = await open();
    const x = device.tensor([0], [1]);
    const reads: Promise<ArrayLike<number>>[] = [];
    for (let i = 0; i < 700; i++) {
      x.write([i]);
      reads.push(x.read());
    }
    const values = (await Promise.all(reads)).map((value) => value[0]);
    expect(values).toEqual(Array.from({ length: 700 }, (_, i) => i));
  });
});
