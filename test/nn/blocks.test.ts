import { expect, test } from 'vitest';
import { engineShape, Parameter, type ParameterKind } from '../../lib/autograd/parameter.js';
import { backward } from '../../lib/autograd/tape.js';
import { OptionError } from '../../lib/errors.js';
import { blocks, ops } from '../../lib/index.js';
import { permute, type Tensor } from '../../lib/tensor.js';
import { relL2 } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';

interface BlockCase {
  id: string;
  kwargs?: { groups?: number; eps?: number; heads?: number; norm_num_groups?: number; output_scale_factor?: number };
  params: { name: string; shape: number[] }[];
  float32_vs_float64_noise: { zero_gradient_tensors: string[] };
}

/** A block's parameters by the names of its case, as pairs. */
type Pairs = (name: string) => { weight: Parameter; bias: Parameter };

const run: Record<string, (x: Parameter, time: Tensor | null, pair: Pairs, one: BlockCase) => Tensor> = {
  resnet: (x, time, pair, { id, params, kwargs = {} }) =>
    blocks.residual(
      x,
      {
        norm1: pair('norm1'),
        conv1: pair('conv1'),
        timeProjection: pair('time_emb_proj'),
        norm2: pair('norm2'),
        conv2: pair('conv2'),
        shortcut: params.some(({ name }) => name.startsWith('conv_shortcut')) ? pair('conv_shortcut') : null,
      },
      {
        groups: kwargs.groups as number,
        eps: kwargs.eps,
        time,
        timeEmbedding: id.endsWith('ss') ? 'scaleShift' : 'add',
        outputScale: kwargs.output_scale_factor,
      },
    ),
  attn: (x, _time, pair, { kwargs = {} }) =>
    blocks.attention(
      x,
      { norm: pair('group_norm'), q: pair('to_q'), k: pair('to_k'), v: pair('to_v'), out: pair('to_out.0') },
      { groups: kwargs.norm_num_groups as number, eps: kwargs.eps, heads: kwargs.heads, outputScale: Math.SQRT2 },
    ),
  down: (x, _time, pair, { id }) =>
    id === 'down_conv_odd' ? blocks.down(x, pair('op')) : blocks.down(x, pair('conv'), { padding: id.endsWith('pad0') ? 0 : 1 }),
  up: (x, _time, pair) => blocks.up(x, pair('conv')),
};

const { cases } = loadGoldenJson<{ cases: BlockCase[] }>('blocks/blocks.json');

eachDevice((_id, open) => {
  test.each(cases)('$id: output and every gradient', async (one) => {
    const device = await open();
    const { usedBytes } = device.memory();
    const tensors = await loadGolden('blocks/blocks.safetensors');
    const golden = (name: string) => tensors.get(`${one.id}/${name}`) as GoldenTensor;
    const made: Parameter[] = [];
    const parameter = (name: string, tensor: GoldenTensor, kind: ParameterKind) => {
      const shape = engineShape(tensor.shape, kind);
      const result = new Parameter(name, tensor.shape, kind, device.zeros(shape), device.zeros(shape));
      result.write(tensor.values);
      made.push(result);
      return result;
    };
    const image = (name: string) => device.tensor(golden(name).values, golden(name).shape, { layout: 'nchw' });

    const shape = permute(golden('x').shape, [0, 2, 3, 1]);
    const x = new Parameter('x', shape, 'plain', image('x'), device.zeros(shape));
    const temb = tensors.has(`${one.id}/temb`) ? parameter('temb', golden('temb'), 'plain') : null;
    const kinds: Record<number, ParameterKind> = { 1: 'plain', 2: 'linear', 4: 'conv' };
    const weights = new Map(
      one.params.map(({ name, shape }) => [name, parameter(name, golden(`param/${name}`), kinds[shape.length] as ParameterKind)]),
    );
    const pair: Pairs = (name) => ({
      weight: weights.get(`${name}.weight`) as Parameter,
      bias: weights.get(`${name}.bias`) as Parameter,
    });
    const block = Object.keys(run).find((name) => one.id.includes(name)) as string;
    const { out, loss } = device.scope(() => {
      const out = run[block]?.(x, temb && ops.silu(temb), pair, one) as Tensor;
      return { out, loss: ops.scale(ops.mean(ops.mul(out, image('grad_out'))), out.size) };
    });
    expect(relL2((await out.read({ layout: 'nchw' })) as Float32Array, golden('out').values)).toBeLessThan(1e-5);
    backward(loss);
    const gradX = (await x.grad.read({ layout: 'nchw' })) as Float32Array;
    expect(relL2(gradX, golden('grad_x').values)).toBeLessThan(2e-5);
    if (temb) expect(relL2(await temb.readGrad(), golden('grad_temb').values)).toBeLessThan(2e-5);
    for (const [name, weight] of weights)
      if (!one.float32_vs_float64_noise.zero_gradient_tensors.includes(name))
        expect(relL2(await weight.readGrad(), golden(`grad_param/${name}`).values), name).toBeLessThan(2e-5);

    for (const tensor of [out, loss, ...[x, ...made].flatMap(({ value, grad }) => [value, grad])]) tensor.dispose();
    expect(device.memory().usedBytes).toBe(usedBytes);
  });

  test('a skip is the second half of the input', async () => {
    const device = await open();
    const random = (...shape: number[]) => device.randn(shape, { seed: shape.reduce((seed, axis) => seed * 31 + axis, 7) });
    const pair = (...shape: number[]) => ({ weight: random(...shape), bias: random(shape.at(-1) as number) });
    const weights = {
      norm1: pair(6),
      conv1: pair(3, 3, 6, 4),
      norm2: pair(4),
      conv2: pair(3, 3, 4, 4),
      shortcut: pair(1, 1, 6, 4),
    };
    const [x, skip] = [random(2, 5, 3, 4), random(2, 5, 3, 2)];
    const both = blocks.residual(x, weights, { groups: 2, skip });
    const joined = blocks.residual(ops.concat(x, skip), weights, { groups: 2 });
    expect(relL2((await both.read()) as Float32Array, (await joined.read()) as Float32Array)).toBeLessThan(1e-6);
    expect(() => blocks.residual(x, { ...weights, shortcut: null }, { groups: 2, skip })).toThrow(
      /shortcut is needed with a skip/,
    );
    expect(() => blocks.residual(x, weights, { groups: 2, time: random(2, 8) })).toThrow(/come together/);
    expect(() => blocks.residual(x, weights, { groups: 2, timeEmbedding: 'mul' as never })).toThrow(/'add' or 'scaleShift'/);
  });

  test('wrong weights and options', async () => {
    const device = await open();
    const x = device.zeros([1, 4, 4, 2]);
    const conv = { weight: device.zeros([3, 3, 2, 2]), bias: device.zeros([2]) };
    const refuse = (body: () => unknown, message: RegExp) => {
      expect(body).toThrow(OptionError);
      expect(body).toThrow(message);
    };
    refuse(() => blocks.down(x, { weight: conv.weight } as never), /weights\.conv must be \{ weight, bias \}/);
    refuse(() => blocks.down(x, conv, { padding: 2 as never }), /'padding' must be 0 or 1, got 2/);
    refuse(() => blocks.down(x, conv, { stride: 2 } as never), /unknown option 'stride'/);
    refuse(() => blocks.attention(x, { q: conv } as never, { groups: 1 }), /weights\.k must be/);
    refuse(() => blocks.attention(x, null as never, { groups: 1 }), /weights must be an object, got null/);
    refuse(
      () => blocks.residual(x, { norm1: conv, conv1: conv, norm2: conv, conv2: conv, conv3: conv } as never, { groups: 1 }),
      /unknown weights 'conv3'/,
    );
  });
});
