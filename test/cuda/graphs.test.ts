import { expect, test } from 'vitest';
import type { Device, Tensor } from '../../lib/index.js';
import { ops } from '../../lib/index.js';
import { onCounted } from './counted.js';

const { add, groupNorm, silu } = ops;
const values = async (tensor: Tensor) => [...(await tensor.read())];

/** A lookup whose index only the device can see to be wrong. */
function look(device: Device, ids: Tensor): Tensor {
  const y = device.empty([ids.shape[0] as number, 2], 'f32');
  device.native.embedding(ids.handle, table(device).handle, 0, y.handle);
  return y;
}
const tables = new WeakMap<Device, Tensor>();
function table(device: Device): Tensor {
  const made = tables.get(device) ?? device.outsideRecording(() => device.tensor([1, 2, 3, 4, 5, 6], [3, 2]));
  tables.set(device, made);
  return made;
}

onCounted('sound', (opened) => {
  test('a run is one launch of a graph', async () => {
    const { device, counts } = opened();
    const x = device.tensor([1, 2, 3], [3]);
    const program = device.record(() => add(silu(add(x, x)), device.tensor([10, 20, 30], [3])));
    const before = await values(program.result);
    const { run } = counts();
    for (let i = 0; i < 20; i++) program.run();
    expect(await values(program.result)).toEqual(before);
    expect(counts()).toEqual({ run, capture: 1, replay: 20, destroy: 0 });
    program.dispose();
    await device.synchronize();
    expect(counts().destroy).toBe(1);
  });

  test('a graph keeps the data of the uploads that it was recorded with', async () => {
    const { device } = opened();
    const data = Float32Array.from({ length: 3000 }, (_, i) => i);
    const program = device.record(() => {
      const x = device.tensor(data, [3000]);
      const y = add(x, x);
      x.write(new Float32Array(3000).fill(-1));
      return { x, y };
    });
    data.fill(0);
    for (let i = 0; i < 3; i++) program.run();
    program.run();
    expect((await values(program.result.y))[2999]).toBe(5998);
    expect((await values(program.result.x))[7]).toBe(-1);
  });

  test('marks make the commands run one by one, on sound contents the graph runs again', async () => {
    const { device, counts } = opened();
    const bad = look(device, device.tensor(Int32Array.of(5), [1]));
    const x = device.tensor([[1, 2]].flat(), [1, 2]);
    const program = device.record(() => ({ through: add(bad, x), beside: add(x, x) }));
    program.run();
    await expect(program.result.through.read()).rejects.toThrow(/embedding.*id 5 is outside \[-1, 3\)/);
    expect(await values(program.result.beside)).toEqual([2, 4]);
    expect(counts().replay).toBe(0);
    bad.write([10, 20]);
    program.run(); // writes over the last marks
    program.run();
    expect(await values(program.result.through)).toEqual([11, 22]);
    expect(counts().replay).toBe(1);
  });

  test('marks elsewhere do not concern a graph', async () => {
    const { device, counts } = opened();
    const bad = look(device, device.tensor(Int32Array.of(5), [1]));
    const x = device.tensor([1, 2], [2]);
    const program = device.record(() => add(x, x));
    program.run();
    expect(await values(program.result)).toEqual([2, 4]);
    await expect(bad.read()).rejects.toThrow(/id 5/);
    expect(counts().replay).toBe(1);
  });

  test('scratch memory that has grown makes for a new graph', async () => {
    const { device, counts } = opened();
    const [gamma, beta] = [device.full([8], 2), device.full([8], 1)];
    const x = device.randn([2, 1, 4, 8], { seed: 1 });
    const program = device.record(() => groupNorm(x, gamma, beta, { groups: 2 }));
    const before = await values(program.result);
    program.run();
    program.run();
    expect(await values(program.result)).toEqual(before);
    expect(counts()).toMatchObject({ capture: 1, replay: 2 });
    await groupNorm(device.randn([2100, 1, 1, 8], { seed: 1 }), gamma, beta, { groups: 8 }).read();
    program.run();
    expect(await values(program.result)).toEqual(before);
    expect(counts()).toMatchObject({ capture: 2, replay: 3, destroy: 1 });
  });

  test('programs may go before their runs have ended, and stay when the device closes', async () => {
    const { device } = opened();
    const x = device.tensor([1], [1]);
    const first = device.record(() => add(x, x));
    const second = device.record(() => add(first.result, x));
    for (let i = 0; i < 30; i++) {
      first.run();
      second.run();
    }
    first.dispose();
    expect(await values(second.result)).toEqual([3]);
    for (let i = 0; i < 30; i++) second.run();
  });
});

for (const plan of ['noCapture', 'firstRecorded'] as const)
  onCounted(plan, (opened) => {
    test('without a graph the commands run one by one, with the same bits', async () => {
      const { device, counts } = opened();
      const x = device.tensor([1, 2, 3], [3]);
      const program = device.record(() => silu(add(x, x)));
      const before = await values(program.result);
      const { run } = counts();
      for (let i = 0; i < 5; i++) program.run();
      expect(await values(program.result)).toEqual(before);
      const refused = plan === 'noCapture' ? 5 : 1;
      expect(counts()).toMatchObject({ run: run + 2 * refused, capture: plan === 'noCapture' ? 3 : 2, replay: 5 - refused });
    });
  });

onCounted('secondReplay', (opened) => {
  test('a launch that fails marks all that the program writes', async () => {
    const { device } = opened();
    const x = device.tensor([1, 2], [2]);
    const program = device.record(() => ({ twice: add(x, x), other: silu(x) }));
    program.run();
    expect(await values(program.result.twice)).toEqual([2, 4]);
    program.run();
    await expect(program.result.twice.read()).rejects.toThrow('replay: refused for this test');
    await expect(add(program.result.other, x).read()).rejects.toThrow('replay: refused for this test');
    expect(await values(x)).toEqual([1, 2]);
    program.run();
    expect(await values(program.result.twice)).toEqual([2, 4]);
  });
});

onCounted('secondMap', (opened) => {
  test('memory that the device does not give fails what uses it, until there is some', async () => {
    const { device } = opened();
    const small = device.full([10], 1);
    const large = device.full([20_000_000], 2); // a slab of its own, and two attempts to get memory for it
    await expect(large.read()).rejects.toThrow('there is no memory');
    expect(await values(add(small, small))).toEqual(new Array(10).fill(2));
    const again = device.full([20_000_000], 3);
    large.write(new Float32Array(20_000_000).fill(4));
    expect((await large.read())[19_999_999]).toBe(4);
    expect((await again.read())[0]).toBe(3);
  });
});
