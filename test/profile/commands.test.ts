import { beforeAll, expect, test } from 'vitest';
import type { Device, ProgramCommand } from '../../lib/index.js';
import { AdamW, backward, DisposedError, mean, ops, Parameter, UNet } from '../../lib/index.js';
import { eachDevice } from '../support/devices.js';

eachDevice((id, open) => {
  let device: Device;
  beforeAll(async () => {
    device = await open();
  });

  const f32 = (...shape: number[]) => device.zeros(shape);
  const i32 = (...values: number[]) => device.tensor(Int32Array.from(values), [values.length]);
  /** The commands of a name (all without one); what the function makes is disposed inside, so that nothing is copied out. */
  const recorded = (body: () => void, name?: string): readonly ProgramCommand[] => {
    const program = device.record(() => {
      device.scope(() => void body());
    });
    const { commands } = program;
    program.dispose();
    return name === undefined ? commands : commands.filter((command) => command.name === name);
  };
  const one = (body: () => void, name: string): ProgramCommand => {
    const commands = recorded(body, name);
    expect(commands).toHaveLength(1);
    return commands[0] as ProgramCommand;
  };

  test('conv2d: two FLOPs a tap, stride, padding and all', () => {
    const [x, weight, bias] = [f32(2, 7, 5, 3), f32(3, 3, 3, 5), f32(5)];
    const command = one(() => ops.conv2d(x, weight, { bias, stride: 2, padding: 1 }), 'conv2d');
    expect(command).toEqual({
      name: 'conv2d',
      dtype: 'f32',
      shapes: '2×7×5×3, 3×3×3×5, 5 → 2×4×3×5',
      flops: 2 * (2 * 4 * 3) * (3 * 3 * 3) * 5,
      bytes: 4 * (2 * 7 * 5 * 3 + 3 * 3 * 3 * 5 + 5 + 2 * 4 * 3 * 5),
    });
  });

  test('conv2d of an enlarged image counts as enlarged, and reads the small one', () => {
    const [x, weight] = [f32(1, 3, 5, 2), f32(3, 3, 2, 7)];
    const { flops, bytes } = one(() => ops.conv2d(x, weight, { upsample: true, padding: 1 }), 'conv2d');
    expect(flops).toBe(2 * (6 * 10) * (9 * 2) * 7);
    expect(bytes).toBe(4 * (3 * 5 * 2 + 9 * 2 * 7 + 6 * 10 * 7));
  });

  test('conv2d of two tensors read as one, and both gradients', () => {
    const [a, b] = [new Parameter(device, [3]), new Parameter(device, [2])];
    const images = (factors: Parameter) => ops.mul(f32(1, 4, 4, factors.shape[0] as number), factors);
    const weight = new Parameter(device, [7, 5, 3, 3]);
    const commands = recorded(() => backward(mean(ops.conv2d(images(a), weight, { skip: images(b), padding: 1 }))));
    const flops = 2 * 16 * 9 * 5 * 7;
    const [forward, weights, data] = ['conv2d', 'conv2dBackwardWeights', 'conv2dBackwardData'].map((name) =>
      commands.find((command) => command.name === name),
    );
    expect(forward).toMatchObject({ flops, shapes: '1×4×4×3, 1×4×4×2, 3×3×5×7 → 1×4×4×7' });
    expect(data).toMatchObject({ flops, bytes: 4 * (16 * 7 + 9 * 5 * 7 + 16 * 5) });
    // The first gradient overwrites the weight's, and so is not read.
    expect(weights).toMatchObject({ flops, bytes: 4 * (16 * 5 + 16 * 7 + 9 * 5 * 7) });
  });

  test('a gradient that is added to what is there is read and written', () => {
    const [x, weight] = [f32(3, 5), new Parameter(device, [2, 5])];
    const bytes = recorded(() => {
      for (let i = 0; i < 2; i++) backward(mean(ops.linear(x, weight)));
    }, 'linearBackwardWeights').map((command) => command.bytes);
    weight.zeroGrad();
    const fresh = recorded(() => backward(mean(ops.linear(x, weight))), 'linearBackwardWeights')[0]?.bytes as number;
    expect(bytes[1]).toBe(4 * (3 * 5 + 3 * 2 + 2 * 5 * 2));
    expect(fresh).toBe(4 * (3 * 5 + 3 * 2 + 5 * 2));
  });

  test('linear and attention', () => {
    const [x, weight, bias] = [f32(2, 3, 5), f32(5, 7), f32(7)];
    expect(one(() => ops.linear(x, weight, { bias }), 'linear')).toMatchObject({
      shapes: '2×3×5, 5×7, 7 → 2×3×7',
      flops: 2 * 6 * 5 * 7,
      bytes: 4 * (6 * 5 + 5 * 7 + 7 + 6 * 7),
    });
    const [q, k, v] = [0, 1, 2].map(() => new Parameter(device, [2, 3, 10])) as [Parameter, Parameter, Parameter];
    const commands = recorded(() => backward(mean(ops.attention(q, k, v, { heads: 2 }))));
    const product = 2 * 2 * 3 * 3 * 10;
    const [lse, tensor] = [2 * 2 * 3, 2 * 3 * 10];
    expect(commands.find(({ name }) => name === 'attention')).toMatchObject({
      shapes: '2×3×10, 2×3×10, 2×3×10 → 2×3×10, 2×2×3',
      flops: 2 * product,
      bytes: 4 * (4 * tensor + lse),
    });
    expect(commands.find(({ name }) => name === 'attentionBackward')).toMatchObject({
      flops: 5 * product,
      bytes: 4 * (8 * tensor + lse),
    });
  });

  test('of a table only the rows that are looked up', () => {
    const table = f32(100, 3);
    expect(one(() => ops.embedding(i32(7, 2), table), 'embedding').bytes).toBe(4 * (2 + 2 * 3 + 2 * 3));
    const [t, y] = [i32(9, 4, 4), f32(3)];
    const gather = one(() => device.native.gather(f32(1000).handle, t.handle, y.handle), 'gather');
    expect(gather).toMatchObject({ dtype: 'f32', bytes: 4 * (3 + 3 + 3) });
    const small = f32(2, 3); // all of it, however often it is looked up
    expect(one(() => ops.embedding(i32(0, 1, 0, 1, 0), small), 'embedding').bytes).toBe(4 * (5 + 2 * 3 + 5 * 3));
  });

  test('cropping reads what is left; placing writes what is placed', () => {
    const x = f32(5, 7);
    const crop = one(() => ops.slice(x, 1, 2, 6), 'pad');
    expect(crop).toMatchObject({ shapes: '5×7 → 5×4', flops: 0, bytes: 4 * (5 * 4 + 5 * 4) });
    const padded = one(
      () =>
        ops.pad(x, [
          [1, 2],
          [0, 0],
        ]),
      'pad',
    );
    expect(padded.bytes).toBe(4 * (5 * 7 + 8 * 7));
    const y = f32(9, 9);
    const place = one(() => device.native.place(x.handle, y.handle, 0, 0, 0, 0, 2, 1), 'place');
    expect(place).toMatchObject({ shapes: '5×7 → 9×9', bytes: 4 * 2 * 35 });
  });

  test('AdamW moves 38 bytes a parameter with an average and a bf16 copy', () => {
    const size = 1001;
    const [value, grad, m, v, ema, norm, hyper] = [size, size, size, size, size, 2, 4].map((n) => f32(n));
    const copy = device.zeros([size], { dtype: 'bf16' });
    const handles = [value, grad, m, v, ema, copy, norm, hyper].map((tensor) => tensor?.handle as number);
    const command = one(() => device.native.adamW(...handles, 0.9, 0.999, 1e-8, 0), 'adamW');
    expect(command).toMatchObject({ dtype: 'f32', flops: 0, bytes: 38 * size + 4 * (2 + 4) });
    expect(command.shapes).toBe('1001, 2, 4 → 1001, 1001, 1001, 1001, 1001');
  });

  test('element types, uploads and copies', () => {
    const x = f32(3, 5);
    const program = device.record(() => {
      x.write(new Float32Array(15));
      return ops.cast(x, 'bf16');
    });
    expect(program.commands).toEqual([
      { name: 'upload', dtype: 'u8', shapes: '→ 60', flops: 0, bytes: 60 },
      { name: 'cast', dtype: 'f32', shapes: '3×5 → 3×5', flops: 0, bytes: 15 * (4 + 2) },
      { name: 'copy', dtype: 'u8', shapes: '30 → 30', flops: 0, bytes: 60 },
    ]);
    expect(program.commands).toBe(program.commands);
    program.dispose();
    expect(program.commands).toHaveLength(3); // asked for before
    const gone = device.record(() => void f32(2));
    gone.dispose();
    expect(() => gone.commands).toThrow(DisposedError);
  });

  test('the DDPM network of CIFAR-10 takes 12.444 GFLOP an image, and a training step three times that', (context) => {
    if (id !== 'cpu') return context.skip('recording runs it once, which takes this device too long; the counts are the same');
    const options = { imageSize: 32, baseChannels: 128, channelMults: [1, 2, 2, 2], resBlocks: 2, attentionResolutions: [16] };
    using model = new UNet(device, options);
    using optimizer = new AdamW(model.parameters());
    const [x, t] = [f32(1, 32, 32, 3), i32(5)];
    const giga = (commands: readonly ProgramCommand[], names = '') =>
      commands.filter(({ name }) => name.startsWith(names)).reduce((sum, { flops }) => sum + flops, 0) / 1e9;
    const forward = recorded(() => void model.forward(x, t));
    expect(giga(forward)).toBeCloseTo(12.444, 3);
    expect(giga(forward, 'attention')).toBeCloseTo(0.336, 3);
    expect(giga(forward, 'conv2d') + giga(forward, 'linear')).toBeCloseTo(12.102 + 0.006, 3); // convolutions of 1×1 are linear maps
    expect(giga(forward, 'linearGroup') * 1e9).toBe(2 * 512 * 4992);
    // Time projections lie among all other weights, of which they read nothing.
    expect(forward.find(({ name }) => name === 'linearGroup')?.bytes).toBe(4 * (512 + 22 * 3 + 513 * 4992 + 4992));
    const step = recorded(() => {
      optimizer.zeroGrad();
      backward(mean(model.forward(x, t, { train: true })));
      optimizer.enqueue();
    });
    // 37.324 of it with four products in the backward pass of attention; it computes one more.
    expect(giga(step)).toBeCloseTo(37.324 + 0.168, 2);
    expect(Math.abs(giga(step) - 37.492)).toBeLessThan(0.002);
    const updated = step.filter(({ name }) => name === 'adamW').reduce((sum, { bytes }) => sum + bytes, 0);
    expect(updated / 35_746_307).toBeCloseTo(4 * 7, 1); // values, moments and gradients, without an average
  });
});
