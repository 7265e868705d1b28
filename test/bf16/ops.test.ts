import { describe, expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import type { Device } from '../../lib/device.js';
import * as blocks from '../../lib/nn/blocks/index.js';
import * as ops from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { relL2 } from '../support/compare.js';
import { eachDevice, openForBf16 } from '../support/devices.js';
import { randomValues, sizeOf, toBf16 } from '../support/values.js';

type FloatType = 'f32' | 'bf16';
type Shape = readonly number[];

/** A block: of images, which it gets in the element type of the arithmetic, and of weights, all of them parameters. */
interface Block {
  name: string;
  images: Record<string, Shape>;
  weights: Record<string, Shape>;
  run(images: Record<string, Tensor>, weights: Record<string, Parameter>): Tensor;
  /** Gradients that are zero but for rounding: the bias before a normalisation with one channel a group, say. */
  zero?: string[];
  /** In roundings; 4. */
  limit?: number;
}

type Weights = Record<string, Parameter>;

const affine = (weights: Weights, name: string): blocks.Affine => ({
  weight: weights[`${name}.weight`] as Parameter,
  bias: weights[`${name}.bias`] as Parameter,
});
const pair = (name: string, weight: Shape, width = weight.at(-1) as number): Record<string, Shape> => ({
  [`${name}.weight`]: weight,
  [`${name}.bias`]: [width],
});

function residual(name: string, [n, h, w]: [number, number, number], options: Omit<blocks.ResidualOptions, 'groups'>): Block {
  const [c1, c2, k, d] = [16, 8, 24, 12];
  const scaleShift = options.timeEmbedding === 'scaleShift';
  return {
    name: `residual, ${name}`,
    images: { x: [n, h, w, c1], skip: [n, h, w, c2] },
    weights: {
      time: [n, d],
      ...pair('norm1', [c1 + c2]),
      ...pair('conv1', [3, 3, c1 + c2, k]),
      ...pair('timeProjection', [d, scaleShift ? 2 * k : k]),
      ...pair('norm2', [k]),
      ...pair('conv2', [3, 3, k, k]),
      ...pair('shortcut', [1, 1, c1 + c2, k]),
    },
    run: ({ x, skip }, weights) =>
      blocks.residual(
        x as Tensor,
        {
          norm1: affine(weights, 'norm1'),
          conv1: affine(weights, 'conv1'),
          timeProjection: affine(weights, 'timeProjection'),
          norm2: affine(weights, 'norm2'),
          conv2: affine(weights, 'conv2'),
          shortcut: affine(weights, 'shortcut'),
        },
        { groups: 4, skip, time: weights.time as Parameter, ...options },
      ),
  };
}

const conv = (name: string, shape: Shape, run: (x: Tensor, weights: blocks.Affine) => Tensor): Block => ({
  name,
  images: { x: shape },
  weights: pair('conv', [3, 3, shape[3] as number, 10]),
  run: ({ x }, weights) => run(x as Tensor, affine(weights, 'conv')),
});

const all: Block[] = [
  residual('7×5 pixels', [2, 7, 5], {}),
  residual('8×8 pixels: sums from the convolutions', [2, 8, 8], {}),
  residual('scale and shift, dropout', [1, 8, 16], { timeEmbedding: 'scaleShift', dropout: 0.3, seed: 5 }),
  residual('scaled', [2, 4, 4], { outputScale: 2 }),
  {
    name: 'attention',
    images: { x: [2, 5, 3, 24] },
    weights: {
      ...pair('norm', [24]),
      ...pair('q', [24, 24]),
      ...pair('k', [24, 24]),
      ...pair('v', [24, 24]),
      ...pair('out', [24, 24]),
    },
    run: ({ x }, weights) => {
      const [norm, q, k, v, out] = ['norm', 'q', 'k', 'v', 'out'].map((name) => affine(weights, name)) as Affines;
      return blocks.attention(x as Tensor, { norm, q, k, v, out }, { groups: 6, heads: 3 });
    },
    zero: ['k.bias'], // adds the same to every score of a query
    limit: 8, // gradients of scores are differences of nearly equal terms
  },
  conv('down', [2, 8, 6, 9], (x, weights) => blocks.down(x, weights)),
  conv('down, zeros at the lower right', [1, 7, 5, 9], (x, weights) => blocks.down(x, weights, { padding: 0 })),
  conv('up', [2, 4, 3, 9], (x, weights) => blocks.up(x, weights)),
];

type Affines = [blocks.Affine, blocks.Affine, blocks.Affine, blocks.Affine, blocks.Affine];

/** Half a unit in the last place of a bf16 near 1: a rounding is at most this, in root mean square about half of it. */
const eps = 2 ** -9;

/** The output in f32 and the gradients of a weighted mean of it. Inputs and weights are numbers that bf16 holds. */
async function pass(device: Device, block: Block, dtype: FloatType): Promise<Map<string, Float32Array>> {
  const shapes = { ...block.images, ...block.weights };
  const names = Object.keys(shapes);
  const parameters = Object.fromEntries(
    Object.entries(shapes).map(([name, shape], i) => {
      const fanIn = shape.length > 1 && name.endsWith('weight') ? sizeOf(shape) / (shape.at(-1) as number) : 1;
      const offset = /^norm.*weight$/.test(name) ? 1 : 0;
      const values = toBf16(randomValues(sizeOf(shape), i + 1).map((value) => offset + value / Math.sqrt(fanIn)));
      return [name, new Parameter(name, shape, 'plain', device.tensor(values, shape), device.zeros(shape))];
    }),
  );
  const images = Object.keys(block.images).map((name) => {
    const image = parameters[name] as Parameter;
    return [name, dtype === 'f32' ? image.value : ops.cast(image, dtype)];
  });
  const y = block.run(Object.fromEntries(images), parameters);
  expect(y.dtype).toBe(dtype);
  const cotangent = device.tensor(toBf16(randomValues(y.size, 100)), y.shape);
  backward(ops.mean(ops.mul(ops.cast(y, 'f32'), cotangent)));
  const result = new Map([['output', (await y.read()) as Float32Array]]);
  for (const name of names) result.set(`gradient of ${name}`, await (parameters[name] as Parameter).readGrad());
  return result;
}

eachDevice((id, open) => {
  describe.each(all)(`$name on ${id}`, (block) => {
    test('output and gradients in bf16 are those in f32 but for rounding, and repeat', async (context) => {
      const device = await openForBf16(open, context);
      const exact = await pass(device, block, 'f32');
      const rounded = await pass(device, block, 'bf16');
      const wrong: Record<string, number> = {};
      for (const [name, values] of exact) {
        const error = relL2(rounded.get(name) as Float32Array, values);
        const zero = block.zero?.some((one) => name.endsWith(one));
        if (!zero && !(error <= (block.limit ?? 4) * eps)) wrong[name] = error;
      }
      expect(wrong).toEqual({});
      const again = await pass(device, block, 'bf16');
      for (const [name, values] of rounded) expect(again.get(name), name).toEqual(values);
    });
  });
});
