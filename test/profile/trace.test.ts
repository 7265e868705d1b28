import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Device } from '../../lib/index.js';
import { AdamW, backward, mean, OptionError, openDevice, ops, UNet } from '../../lib/index.js';
import { eachDevice } from '../support/devices.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { commandOf, readTrace } from '../support/trace.js';

const folder = temporaryFolder();

eachDevice((id) => {
  let files = 0;
  const freshPath = () => join(folder, `${id}-${files++}.json`);
  const profiled = async (path: string, body: (device: Device) => Promise<void>) => {
    const device = await openDevice(id, { profile: path });
    try {
      await body(device);
    } finally {
      await device.close();
    }
  };

  test('a training step: every command in order, with what it takes and how long', async () => {
    const path = freshPath();
    await profiled(path, async (device) => {
      const options = { imageSize: 8, baseChannels: 8, channelMults: [1, 2], resBlocks: 1, attentionResolutions: [4], groups: 4 };
      const model = new UNet(device, options);
      const optimizer = new AdamW(model.parameters());
      const [x, t] = [device.randn([2, 8, 8, 3], { seed: 1 }), device.tensor(Int32Array.of(3, 500), [2])];
      const program = device.record(() => {
        optimizer.zeroGrad();
        device.scope(() => backward(mean(model.forward(x, t, { train: true }))));
        optimizer.enqueue();
      });
      await device.synchronize();
      const before = readTrace(path).events;
      expect(before.slice(-program.commands.length).map(commandOf)).toEqual(program.commands); // recording runs it
      const start = performance.now();
      program.run();
      await device.synchronize();
      const elapsed = (performance.now() - start) * 1e3;
      const { events, rows, processes } = readTrace(path);
      const step = events.slice(before.length);
      expect(step.map(commandOf)).toEqual(program.commands);
      expect(step.map(({ name }) => name)).toEqual(expect.arrayContaining(['conv2d', 'attentionBackward', 'adamW']));
      const [first, last] = [step[0], step.at(-1)] as [(typeof step)[0], (typeof step)[0]];
      expect(last.ts + last.dur - first.ts).toBeLessThan(elapsed + 1000);
      for (const { dur, args } of step.filter((event) => event.dur > 1)) {
        expect((args['GB/s'] as number) / (args.bytes / dur / 1e3)).toBeCloseTo(1, 2);
        if (args.flops > 0) expect((args['GFLOP/s'] as number) / (args.flops / dur / 1e3)).toBeCloseTo(1, 2);
        else expect(args).not.toHaveProperty('GFLOP/s');
      }
      expect(step.reduce((sum, { dur }) => sum + dur, 0)).toBeGreaterThan(1);
      expect([...rows.values()]).toEqual([device.info.id]);
      expect(processes).toEqual([process.pid]);
    });
  });

  test('uploads and downloads', async () => {
    const path = freshPath();
    await profiled(path, async (device) => {
      const x = device.tensor(new Float32Array(15), [3, 5]);
      await ops.silu(x).read();
    });
    expect(readTrace(path).events.map(commandOf)).toEqual([
      { name: 'upload', dtype: 'u8', shapes: '→ 60', flops: 0, bytes: 60 },
      { name: 'silu', dtype: 'f32', shapes: '3×5 → 3×5', flops: 0, bytes: 120 },
      { name: 'download', dtype: 'u8', shapes: '60 →', flops: 0, bytes: 60 },
    ]);
  });

  test('more commands than are held back at a time', async () => {
    const path = freshPath();
    await profiled(path, async (device) => {
      const x = device.zeros([7]);
      for (let i = 0; i < 2500; i++) device.native.fill(x.handle, i);
    });
    expect(readTrace(path).events.map(({ name }) => name)).toEqual(Array(2501).fill('fill'));
  });

  test('what fails is marked, and what is skipped after it is not there', async () => {
    const path = freshPath();
    await profiled(path, async (device) => {
      const table = device.zeros([4, 2]);
      const rows = ops.embedding(device.tensor(Int32Array.of(9), [1]), table);
      await expect(ops.silu(rows).read()).rejects.toThrow(/id 9/);
      ops.silu(table);
    });
    const events = readTrace(path).events.map(({ name, args }) => [name, args.failed ?? false]);
    expect(events).toEqual([
      ['fill', false],
      ['upload', false],
      ['embedding', true],
      ['silu', false],
    ]);
  });

  test('several devices, at once and one after another, share a file; another file is another', async () => {
    const [path, other] = [freshPath(), freshPath()];
    const body = async (device: Device) => {
      for (let i = 0; i < 20; i++) await ops.silu(device.zeros([3])).read();
    };
    await Promise.all([profiled(path, body), profiled(path, body), profiled(other, body)]);
    await profiled(path, body);
    const { events, rows, processes } = readTrace(path);
    expect(rows.size).toBe(3);
    expect(processes).toHaveLength(1);
    for (const tid of rows.keys()) {
      const own = events.filter((event) => event.tid === tid).map(({ name }) => name);
      expect(own).toEqual(Array(20).fill(['fill', 'silu', 'download']).flat());
    }
    expect(readTrace(other).events).toHaveLength(60);
  });

  test('a file that cannot be written is refused, by the names of the option and the variable', async () => {
    const below = join(folder, 'missing', 'trace.json');
    await expect(openDevice(id, { profile: below })).rejects.toThrow(OptionError);
    await expect(openDevice(id, { profile: below })).rejects.toThrow(
      /'profile' \(or DIFFUSION_PROFILE\): cannot write .*missing/,
    );
    const directory = join(folder, `${id}-directory`);
    mkdirSync(directory);
    await expect(openDevice(id, { profile: directory })).rejects.toThrow(OptionError);
    await expect(openDevice(id, { profile: '/dev/null' })).rejects.toThrow(/not a regular file/);
    for (const wrong of ['', 'a\0b', 7] as string[])
      await expect(openDevice(id, { profile: wrong })).rejects.toThrow(OptionError);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('%p in a path is the number of the process; what was there before is replaced', async () => {
    const path = join(folder, `${id}-%p.json`);
    await profiled(path, async (device) => void device.zeros([3]));
    const real = path.replace('%p', String(process.pid));
    expect(readTrace(real).events).toHaveLength(1);
    expect(readFileSync(real, 'utf8').startsWith('[\n{')).toBe(true);
  });
});
