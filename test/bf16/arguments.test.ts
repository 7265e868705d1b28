import { expect, test } from 'vitest';
import { Parameter } from '../../lib/autograd/parameter.js';
import type { Device } from '../../lib/device.js';
import { DTypeError, OptionError } from '../../lib/errors.js';
import type { DType } from '../../lib/native.js';
import * as ops from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { eachDevice, openForBf16 } from '../support/devices.js';

type Tensors = Record<string, Tensor>;

interface Operation {
  name: string;
  /** Operands of one element type, the first of which says it. */
  floats: Record<string, readonly number[]>;
  /** Operands that stay f32. */
  always?: Record<string, readonly number[]>;
  /** Always f32. */
  result?: 'f32';
  run(tensors: Tensors): Tensor;
}

const t = (tensors: Tensors, name: string) => tensors[name] as Tensor;

const operations: Operation[] = [
  {
    name: 'conv2d',
    floats: { x: [2, 4, 4, 3], skip: [2, 4, 4, 2], weight: [3, 3, 5, 6], residual: [2, 4, 4, 6] },
    always: { bias: [6], shift: [2, 6] },
    run: ({ x, weight, ...rest }) => ops.conv2d(x as Tensor, weight as Tensor, { ...rest, padding: 1 }),
  },
  {
    name: 'linear',
    floats: { x: [2, 3], weight: [3, 4], residual: [2, 4] },
    always: { bias: [4] },
    run: ({ x, weight, ...rest }) => ops.linear(x as Tensor, weight as Tensor, rest),
  },
  {
    name: 'groupNorm',
    floats: { x: [2, 4, 4, 3], skip: [2, 4, 4, 2] },
    always: { gamma: [5], beta: [5], scaleShift: [2, 10] },
    run: ({ x, gamma, beta, ...rest }) => ops.groupNorm(x as Tensor, gamma as Tensor, beta as Tensor, { ...rest, groups: 5 }),
  },
  {
    name: 'attention',
    floats: { q: [2, 5, 6], k: [2, 5, 6], v: [2, 5, 6] },
    run: (all) => ops.attention(t(all, 'q'), t(all, 'k'), t(all, 'v')),
  },
  { name: 'add', floats: { a: [2, 3], b: [2, 3] }, run: (all) => ops.add(t(all, 'a'), t(all, 'b')) },
  { name: 'mul', floats: { a: [2, 3], b: [2, 3] }, run: (all) => ops.mul(t(all, 'a'), t(all, 'b')) },
  { name: 'concat', floats: { a: [2, 3], b: [2, 3] }, run: (all) => ops.concat(t(all, 'a'), t(all, 'b')) },
  { name: 'scale', floats: { x: [3] }, run: (all) => ops.scale(t(all, 'x'), 2) },
  { name: 'silu', floats: { x: [3] }, run: (all) => ops.silu(t(all, 'x')) },
  { name: 'dropout', floats: { x: [3] }, run: (all) => ops.dropout(t(all, 'x'), 0.5) },
  { name: 'upsample', floats: { x: [1, 2, 2, 1] }, run: (all) => ops.upsample(t(all, 'x')) },
  { name: 'downsample', floats: { x: [1, 2, 2, 1] }, run: (all) => ops.downsample(t(all, 'x')) },
  { name: 'mean', floats: { x: [3] }, result: 'f32', run: (all) => ops.mean(t(all, 'x')) },
];

const make = (device: Device, shapes: Record<string, readonly number[]>, dtype: DType): Tensors =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, device.zeros(shape, { dtype })]));

eachDevice((id, open) => {
  test.each(operations)(`$name on ${id}: bf16`, async ({ name, floats, always = {}, result = 'bf16', run }) => {
    const device = await open();
    const tensors = { ...make(device, floats, 'bf16'), ...make(device, always, 'f32') };
    if (!device.info.bf16) {
      expect(() => run(tensors)).toThrow(DTypeError);
      const isa = (device.info.isa ?? device.info.name) as string;
      for (const mention of [`${name}: `, device.info.id, isa]) expect(() => run(tensors)).toThrow(mention);
      return;
    }
    expect(run(tensors).dtype).toBe(result);
    for (const odd of Object.keys(floats).slice(1)) {
      const call = () => run({ ...tensors, ...make(device, { [odd]: floats[odd] as number[] }, 'f32') });
      expect(call).toThrow(DTypeError);
      expect(call).toThrow(`${name}: ${odd} must hold bf16 as the first tensor does, got f32`);
    }
    for (const odd of Object.keys(always)) {
      const call = () => run({ ...tensors, ...make(device, { [odd]: always[odd] as number[] }, 'bf16') });
      expect(call).toThrow(DTypeError);
      expect(call).toThrow(`${name}: ${odd} must hold f32, got bf16`);
    }
  });

  test(`losses on ${id} of bf16 predictions are f32`, async (context) => {
    const device = await openForBf16(open, context);
    const prediction = device.tensor([1, 2, 3, 4], [2, 2], { dtype: 'bf16' });
    const target = device.tensor([0, 0, 1, 1], [2, 2]);
    expect(await ops.mseLossPerSample(prediction, target).read()).toEqual(Float32Array.of(2.5, 6.5));
    expect(await ops.mseLoss(target, prediction).read()).toEqual(Float32Array.of(4.5));
  });

  test(`conv2d on ${id}: an f32 result of bf16 inputs`, async (context) => {
    const device = await openForBf16(open, context);
    const weight = new Parameter('w', [1, 1, 2, 2], 'plain', device.full([1, 1, 2, 2], 1), device.zeros([1, 1, 2, 2]));
    const x = device.zeros([1, 2, 2, 2], { dtype: 'bf16' });
    expect(ops.conv2d(x, weight, { dtype: 'f32' }).dtype).toBe('f32');
    expect(() => ops.conv2d(x, weight, { dtype: 'bf16' as 'f32' })).toThrow(OptionError);
    const residual = device.zeros([1, 2, 2, 2], { dtype: 'bf16' });
    expect(() => ops.conv2d(x, weight, { dtype: 'f32', residual })).toThrow(OptionError);
  });
});
