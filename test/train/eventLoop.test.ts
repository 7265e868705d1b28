import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type Device, openDevice, type Trainer } from '../../lib/index.js';
import { delayDuring, quietest } from '../support/eventLoop.js';
import { tinyModel, tinyTrainer } from './tiny.js';

// As many threads as there are cores: the event loop shares them.
let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.close());

test('the event loop stays free while training', async () => {
  const trainer = tinyTrainer(device, { model: tinyModel(device, { baseChannels: 32 }), batchSize: 16 });
  const train = async () => {
    const end = performance.now() + 1000;
    for await (const _ of trainer.run({ steps: 1e6 })) if (performance.now() > end) break;
  };
  await train(); // records
  const control = await quietest(3, () => delayDuring(() => wait(1000)));
  const training = await quietest(6, () => delayDuring(train));
  expect(training).toBeLessThan(control + 2);
});

/** Times every call into the engine while `work` runs, by name. */
async function timeCalls(work: () => Promise<unknown>): Promise<Map<string, number[]>> {
  const { native } = device;
  const times = new Map<string, number[]>();
  const spies = Object.entries(native).flatMap(([name, call]) => {
    if (typeof call !== 'function') return [];
    const list: number[] = [];
    const timed = (...fields: never[]): unknown => {
      const began = performance.now();
      const result = (call as (...fields: never[]) => unknown)(...fields);
      list.push(performance.now() - began);
      if (list.length === 1) times.set(name, list);
      return result;
    };
    return [vi.spyOn(native, name as 'add').mockImplementation(timed as never)];
  });
  await work();
  for (const spy of spies) spy.mockRestore();
  return times;
}

test('no call into the engine takes a millisecond, and a replay takes microseconds', async () => {
  const take = async (trainer: Trainer, steps: number) => {
    for await (const _ of trainer.run({ steps }));
  };
  const make = () => tinyTrainer(device, { model: tinyModel(device, { baseChannels: 32 }), batchSize: 16 });
  const recording = await quietest(10, async () => {
    const times = await timeCalls(() => take(make(), 2));
    expect(times.size).toBeGreaterThan(20);
    return Math.max(...[...times.values()].flat());
  });
  expect(recording).toBeLessThan(1);

  const trainer = make();
  await take(trainer, 1);
  const replays = await timeCalls(() => take(trainer, 50));
  // The garbage collector may free what the trainers before left behind, at any time.
  const called = [...replays.keys()].filter((name) => name !== 'release' && name !== 'releaseProgram');
  expect(called.sort()).toEqual(['download', 'runProgram', 'upload']);
  const sorted = (replays.get('runProgram') ?? []).sort((a, b) => a - b);
  expect(sorted).toHaveLength(50);
  expect(sorted[25]).toBeLessThan(0.05);
});
