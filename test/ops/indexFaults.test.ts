import { expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { DiffusionError } from '../../lib/errors.js';
import type { Tensor } from '../../lib/tensor.js';
import { eachDevice } from '../support/devices.js';
import { randomValues } from '../support/values.js';

const rng = [0, 1, 2, 3, 0];
const random = (device: Device, shape: number[], seed: number) =>
  device.tensor(
    randomValues(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ),
    shape,
  );

type Call = (device: Device, t: Tensor, x: Tensor, y: Tensor) => void;

/** Calls of an operation of several outputs, each made of one call with its own output in the place of y. */
const outputs = (name: string, count: number, call: (...args: [...Parameters<Call>, (own: number) => number]) => void) =>
  Object.fromEntries(
    Array.from({ length: count }, (_, output): [string, Call] => [
      count > 1 ? `${name}, output ${output}` : name,
      (device, t, x, y) => call(device, t, x, y, (own) => (own === output ? y : device.empty(y.shape, 'f32')).handle),
    ]),
  );

/** Every operation that reads indices, and each of its outputs: [3, 5] of f32 (or its first 3) computed from [3] indices below 4. */
const operations: Record<string, Call> = {
  embedding: (device, t, x, y) => device.native.embedding(t.handle, random(device, [4, 5], 1).handle, x.handle, y.handle),
  embeddingBackward: (device, t, x, y) => {
    const table = device.full([4, 5], 0.5);
    device.native.embeddingBackward(t.handle, x.handle, table.handle, true);
    device.native.cast(table.alias([3, 5]).handle, y.handle);
  },
  blend: (device, t, x, y) => device.native.blend(x.handle, 0, t.handle, random(device, [4, 2], 1).handle, y.handle),
  gather: (device, t, _, y) => device.native.gather(random(device, [4], 1).handle, t.handle, y.alias([3]).handle),
  ...outputs('noising', 4, (device, t, x, _y, output) => {
    const made = [0, 1, 2, 3].map(output);
    device.native.noising(x.handle, t.handle, random(device, [4, 2], 1).handle, 0, ...made, 1, false, ...rng);
  }),
  ...outputs('reverseStep', 2, (device, t, x, _y, output) => {
    const inputs = [x.handle, 0, x.handle, x.handle, x.handle, t.handle, random(device, [4, 13], 1).handle];
    device.native.reverseStep(...inputs, 0, 0, output(0), output(1), 1, 1, 0, ...rng);
  }),
  threshold: (device, t, x, y) => {
    const table = random(device, [4, 13], 1);
    device.native.threshold(x.handle, 0, x.handle, t.handle, table.handle, y.alias([3]).handle, 1, 0.5, 2);
  },
  ...outputs('modelVariance', 2, (device, t, _x, _y, output) => {
    const given = [random(device, [3, 10], 3), t, random(device, [4, 2], 1)].map(({ handle }) => handle);
    device.native.modelVariance(...given, output(0), output(1), 2);
  }),
  ...Object.fromEntries(
    [0, 1, 2].map((output): [string, Call] => [
      `variationalBound, output ${output}`,
      (device, t, x, y) => {
        const made = [0, 1, 2].map((own) => (own === output ? y.alias([3]) : device.empty([3], 'f32')).handle);
        const given = [x, x, x, t, random(device, [4, 9], 1), x].map(({ handle }) => handle);
        device.native.variationalBound(...given, ...made, 0, 0);
      },
    ]),
  ),
  variationalBoundBackward: (device, t, x, y) => {
    const given = [x, x, x, t, random(device, [4, 9], 1), random(device, [3], 4), y].map(({ handle }) => handle);
    device.native.variationalBoundBackward(...given, 0, 0, false);
  },
  ...Object.fromEntries(
    ['history', 'counts'].map((part): [string, Call] => [
      `recordLosses, ${part}`,
      (device, t, x, y) => {
        const [history, counts] = [device.full([4, 5], 0.5), device.zeros([4], { dtype: 'i32' })];
        device.native.recordLosses(t.handle, x.alias([3]).handle, history.handle, counts.handle);
        if (part === 'history') device.native.cast(history.alias([3, 5]).handle, y.handle);
        else device.native.timestepEmbedding(counts.alias([3]).handle, y.handle, true, 0);
      },
    ]),
  ),
};
/** The lowest index that is none: −1 is no row of an embedding. */
const tooLow = (name: string) => (name.startsWith('embedding') ? -2 : -1);

/** Those whose results gradients are made of. */
const differentiable = Object.keys(operations).filter((name) => !name.startsWith('recordLosses'));

eachDevice((id, open) => {
  test.each(differentiable)(`an index outside its table on ${id} lets no optimiser step happen: %s`, async (name) => {
    const device = await open();
    const t = device.tensor(Int32Array.of(0, 3, 1), [3]);
    const [x, hyper] = [random(device, [3, 5], 2), device.tensor([0.1, 0.1, 0.1, 0], [4])];
    const [value, m, v] = [5, 6, 7].map((seed) => random(device, [15], seed).alias([15])) as [Tensor, Tensor, Tensor];
    v.write(new Float32Array(15).fill(1));
    const program = device.record(() => {
      const y = device.full([3, 5], 0.5);
      (operations[name] as Call)(device, t, x, y);
      const norm = device.empty([2], 'f32');
      device.native.gradientNorm(y.handle, 0, norm.handle, 1);
      const states = [value, y, m, v].map((tensor) => tensor.handle);
      device.native.adamW(...states, 0, 0, norm.handle, hyper.handle, 0.9, 0.999, 1e-8, 0);
    });
    const read = () => Promise.all([value, m, v].map((tensor) => tensor.read()));
    const start = await read();
    for (const bad of [4, tooLow(name)]) {
      t.write([0, bad, 1]);
      program.run();
      expect(await read()).toEqual(start);
    }
    t.write([0, 3, 1]);
    program.run();
    for (const [i, after] of (await read()).entries()) expect(after).not.toEqual(start[i]);
    program.dispose();
  });

  test.each(Object.keys(operations))(`a read of what came of it on ${id} rejects, and the device goes on: %s`, async (name) => {
    const device = await open();
    const x = random(device, [3, 5], 2);
    for (const bad of [4, tooLow(name), 2 ** 31 - 1, -(2 ** 31)]) {
      const y = device.full([3, 5], 0.5);
      (operations[name] as Call)(device, device.tensor(Int32Array.of(0, bad, 1), [3]), x, y);
      const error = await y.read().then(
        () => null,
        (reason) => reason,
      );
      expect(error, `${bad}`).toBeInstanceOf(DiffusionError);
      expect(error.code).toMatch(/^ERR_/);
      expect(error.message).toContain((name.split(',')[0] as string).replace(/^embeddingBackward$/, 'embedding'));
      expect(error.message).toContain(`${bad}`);
    }
    const y = device.full([3, 5], 0.5);
    (operations[name] as Call)(device, device.tensor(Int32Array.of(0, 3, 1), [3]), x, y);
    expect((await y.read()).length).toBe(15);
    expect([...(await x.read())]).toEqual([...(await random(device, [3, 5], 2).read())]);
  });

  test(`the id -1 on ${id} is a row of zeros, and has no gradient`, async () => {
    const device = await open();
    const [ids, table] = [device.tensor(Int32Array.of(-1, 2, -1), [3]), random(device, [4, 5], 1)];
    const [y, gradient] = [device.full([3, 5], Number.NaN), device.full([4, 5], Number.NaN)];
    device.native.embedding(ids.handle, table.handle, 0, y.handle);
    const row = (await table.read()).slice(10, 15);
    expect([...(await y.read())]).toEqual([...new Array(5).fill(0), ...row, ...new Array(5).fill(0)]);
    device.native.embeddingBackward(ids.handle, device.full([3, 5], 2).handle, gradient.handle, false);
    expect([...(await gradient.read())]).toEqual(Array.from({ length: 20 }, (_, i) => (i >= 10 && i < 15 ? 2 : 0)));
  });

  test(`places outside a window on ${id} are no pixel's: the gradient of a maximum is 0 there`, async () => {
    const device = await open();
    const place = (dtype: 'u8' | 'i32', values: number[]) => {
      const data = dtype === 'u8' ? Uint8Array.from(values) : Int32Array.from(values);
      return device.tensor(data, [1, 2, 2, 1]).handle;
    };
    const dy = device.tensor([1, 2, 3, 4], [1, 2, 2, 1]).handle;
    const dx = device.full([1, 4, 4, 1], Number.NaN);
    device.native.maxPool2dBackward(dy, place('u8', [255, 4, 1, 200]), dx.handle, 2, 2, 2, 2, 0, 0, 0, 0);
    expect([...(await dx.read())].reduce((sum, value) => sum + value, 0)).toBe(3);
    // Windows of 20 × 20, 17 pixels apart, on an image of 37 × 37: places are i32.
    const wide = device.full([1, 37, 37, 1], Number.NaN);
    const window = [20, 20, 17, 17, 0, 0, 0, 0] as const;
    device.native.maxPool2dBackward(dy, place('i32', [-1, 2 ** 31 - 1, 400, -(2 ** 31)]), wide.handle, ...window);
    expect((await wide.read()).every((value) => value === 0)).toBe(true);
  });

  test(`a memory of losses on ${id} that holds nonsense draws steps of the schedule, and nothing is written beside it`, async () => {
    const device = await open();
    const t = device.tensor(Int32Array.of(0, 1, 2, 2), [4]);
    for (const count of [-5, -(2 ** 31), 2 ** 31 - 1, 11]) {
      // In one piece of memory: what lies before and behind the history must stay.
      const around = device.full([50], 7);
      const history = around.alias([3, 10], 10);
      const counts = device.tensor(new Int32Array(3).fill(count), [3]);
      device.native.recordLosses(t.handle, device.tensor([1, 2, 3, Number.NaN], [4]).handle, history.handle, counts.handle);
      const values = await around.read();
      expect([...values.slice(0, 10), ...values.slice(40)]).toEqual(new Array(20).fill(7));
      expect(values.slice(10, 40)).toContain(3);
      for (const value of [7, Number.NaN, Number.POSITIVE_INFINITY, -1e38]) {
        history.write(new Float32Array(30).fill(value));
        const drawn = device.empty([64], 'i32');
        device.native.importanceTimesteps(
          history.handle,
          counts.handle,
          drawn.handle,
          device.empty([64], 'f32').handle,
          0.001,
          ...rng,
        );
        expect((await drawn.read()).every((step) => step >= 0 && step < 3)).toBe(true);
      }
    }
  });
});
