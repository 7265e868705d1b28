import { expect, test } from 'vitest';
import { type Device, openDevice, ops, type Tensor } from '../../lib/index.js';
import { eachDevice } from '../support/devices.js';

const { add, embedding, silu } = ops;
const values = async (tensor: Tensor) => [...(await tensor.read())];

/** y = table[ids] of a table with three rows. */
function lookup(device: Device) {
  const table = device.tensor([1, 2, 3, 4, 5, 6], [3, 2]);
  const ids = device.tensor(Int32Array.of(0), [1]);
  return { ids, look: () => embedding(ids, table) };
}

// On a device that runs programs as graphs, an index out of range is seen when the run has ended, and commands that read
// its results may have run by then. What they all hold is decided as if it had been seen at once.
eachDevice((id, open) => {
  test('a program with an index out of range fails like the operation by itself', async () => {
    const device = await open();
    const { ids, look } = lookup(device);
    const program = device.record(() => {
      const y = look();
      return { y, through: silu(y), beside: add(device.tensor([1], [1]), device.tensor([2], [1])) };
    });
    ids.write(Int32Array.of(7));
    program.run();
    const message = await look()
      .read()
      .catch((error: Error) => error.message);
    expect(message).toMatch(/^embedding: id 7 is outside \[-1, 3\)/);
    await expect(program.result.y.read()).rejects.toThrow(message as string);
    await expect(program.result.through.read()).rejects.toThrow(message as string);
    expect(await values(program.result.beside)).toEqual([3]);
    ids.write(Int32Array.of(2));
    program.run();
    expect(await values(program.result.y)).toEqual([5, 6]);
    expect(await values(program.result.through)).toEqual(await values(silu(program.result.y)));
    program.dispose();
  });

  test('what was computed from a failed run stays failed, whatever ran in between', async () => {
    const device = await open();
    const { ids, look } = lookup(device);
    const program = device.record(() => look());
    program.run();
    const sound = silu(program.result);
    ids.write(Int32Array.of(-2));
    program.run();
    const failed = silu(program.result);
    const twice = add(failed, sound);
    const overwritten = silu(program.result);
    overwritten.write([[8, 9]].flat());
    ids.write(Int32Array.of(1));
    program.run();
    const after = silu(program.result);
    expect(await values(program.result)).toEqual([3, 4]);
    expect(await values(overwritten)).toEqual([8, 9]);
    await expect(failed.read()).rejects.toThrow(/id -2/);
    await expect(twice.read()).rejects.toThrow(/id -2/);
    await expect(add(twice, after).read()).rejects.toThrow(/id -2/);
    expect(await values(add(after, sound))).toHaveLength(2);
    program.dispose();
  });

  test('every read gets the result of its own run, however many are under way', async () => {
    const device = await open();
    const { ids, look } = lookup(device);
    const program = device.record(() => look());
    const other = device.record(() => add(program.result, program.result));
    const reads: Promise<string>[] = [];
    const expected: string[] = [];
    for (let i = 0; i < 60; i++) {
      const index = (i * 5) % 7; // three of seven are rows
      ids.write(Int32Array.of(index));
      program.run();
      other.run();
      const result = i % 2 === 0 ? program.result : other.result;
      reads.push(values(result).then(String, (error: Error) => `${error.name} ${/id \d+/.exec(error.message)?.[0]}`));
      const scale = i % 2 === 0 ? 1 : 2;
      expected.push(index < 3 ? `${scale * (2 * index + 1)},${scale * (2 * index + 2)}` : `OptionError id ${index}`);
    }
    expect(await Promise.all(reads)).toEqual(expected);
    other.dispose();
    program.dispose();
  });

  test('a run that nobody waits for is remembered when its results are read later', async () => {
    const device = await open();
    const { ids, look } = lookup(device);
    const program = device.record(() => look());
    const untouched = device.record(() => silu(device.tensor([0], [1])));
    ids.write(Int32Array.of(4));
    program.run();
    ids.write(Int32Array.of(0));
    for (let i = 0; i < 40; i++) untouched.run();
    await device.synchronize();
    await expect(program.result.read()).rejects.toThrow(/id 4/);
    program.result.write([1, 1]);
    expect(await values(program.result)).toEqual([1, 1]);
    program.dispose();
    untouched.dispose();
  });

  test('close() with failed runs under way', async () => {
    const device = await openDevice(id);
    const { ids, look } = lookup(device);
    const program = device.record(() => look());
    ids.write(Int32Array.of(9));
    for (let i = 0; i < 20; i++) program.run();
    program.result.read().catch(() => {});
    await device.close();
  });
});
