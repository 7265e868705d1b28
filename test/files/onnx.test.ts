import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeOnnx } from '../../lib/files/onnx/write.js';
import { type Device, openDevice, UNet, type UNetOptions } from '../../lib/index.js';
import { decode, messages, strings } from '../support/protobuf.js';

const networks: Record<string, UNetOptions> = {
  plain: { imageSize: 16, baseChannels: 16, channelMults: [1, 2], resBlocks: 1, attentionResolutions: [8], groups: 4 },
  odd: {
    imageSize: [12, 20],
    inChannels: 1,
    baseChannels: 12,
    channelMults: [1, 2, 3],
    resBlocks: 1,
    attentionResolutions: [6],
    groups: 3,
    headChannels: 6,
    timeEmbedding: 'scaleShift',
    numClasses: 5,
  },
};

/** What of onnxruntime-node is used; it is no dependency of this package. */
interface Runtime {
  InferenceSession: {
    create(
      path: string,
    ): Promise<{ run(feeds: Record<string, unknown>): Promise<Record<string, { data: Float32Array; dims: number[] }>> }>;
  };
  Tensor: new (type: string, data: Float32Array | BigInt64Array, shape: number[]) => unknown;
}
const runtime = (() => {
  try {
    return createRequire(__filename)('onnxruntime-node') as Runtime;
  } catch {
    return null;
  }
})();

let device: Device;
const folder = mkdtempSync(join(tmpdir(), 'diffusion-onnx-'));
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(async () => {
  await device.close();
  rmSync(folder, { recursive: true });
});

describe.each(Object.entries(networks))('a %s network as ONNX', (name, options) => {
  const path = join(folder, `${name}.onnx`);
  let model: UNet;
  beforeAll(async () => {
    model = new UNet(device, { ...options, zeroInit: false, seed: 4 });
    await writeOnnx(path, model.architecture, model.parameters());
  });

  it('holds every weight, and nodes that read only what is there', async () => {
    const file = decode(readFileSync(path));
    const graph = messages(file, 7)[0];
    if (!graph) throw new Error('no graph');
    const constants = new Map(messages(graph, 5).map((one) => [strings(one, 8)[0], one]));
    for (const [key, parameter] of model.parameters()) {
      const found = [...constants].find(([constant]) => constant?.replace(/\[.*\]$/, '') === key)?.[1];
      const bytes = found?.get(9)?.[0] as Buffer;
      const values = new Float32Array(Uint8Array.from(bytes).buffer);
      const expected = await parameter.read();
      expect(values.subarray(0, expected.length), key).toEqual(expected);
    }
    const known = new Set([...constants.keys(), ...messages(graph, 11).flatMap((port) => strings(port, 1)), '']);
    for (const node of messages(graph, 1)) {
      for (const input of strings(node, 1)) expect(known, strings(node, 4)[0]).toContain(input);
      for (const output of strings(node, 2)) {
        expect(known).not.toContain(output);
        known.add(output);
      }
    }
    expect(known).toContain('out_sample');
    expect(messages(graph, 12).flatMap((port) => strings(port, 1))).toEqual(['out_sample']);
  });

  it.skipIf(!runtime)('gives the same prediction in onnxruntime', async () => {
    const [height, width] = model.imageSize as readonly [number, number];
    const channels = model.inChannels;
    const batch = 3;
    const steps = Int32Array.from([0, 500, 999]);
    const classes = model.numClasses > 0 ? [4, 1, 0] : null;
    const x = (await device.randn([batch, height, width, channels], { seed: 1 }).read()) as Float32Array;
    const input = device.tensor(x, [batch, height, width, channels]);
    const given = classes ? { labels: device.tensor(Int32Array.from(classes), [batch]) } : {};
    const expected = (await model.forward(input, device.tensor(steps, [batch]), given).read()) as Float32Array;

    const swap = (values: Float32Array, from: number, to: number) => {
      const result = new Float32Array(values.length);
      for (let i = 0; i < values.length; i++) {
        const [n, a, b] = [Math.floor(i / (from * to)), Math.floor(i / to) % from, i % to];
        result[(n * to + b) * from + a] = values[i] as number;
      }
      return result;
    };
    const { InferenceSession, Tensor } = runtime as Runtime;
    const session = await InferenceSession.create(path);
    const feeds: Record<string, unknown> = {
      sample: new Tensor('float32', swap(x, height * width, channels), [batch, channels, height, width]),
      timestep: new Tensor('int64', BigInt64Array.from(steps, BigInt), [batch]),
    };
    if (classes) feeds.class_labels = new Tensor('int64', BigInt64Array.from(classes, BigInt), [batch]);
    const output = (await session.run(feeds)).out_sample;
    const actual = swap(output?.data as Float32Array, channels, height * width);
    const norm = Math.hypot(...expected);
    expect(Math.hypot(...expected.map((value, i) => value - (actual[i] as number))) / norm).toBeLessThan(1e-4);
  });
});
