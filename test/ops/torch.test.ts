import { beforeAll, expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import type { ParameterKind } from '../../lib/autograd/parameterLayout.js';
import type { Device } from '../../lib/device.js';
import * as ops from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { relL2 } from '../support/compare.js';
import { conform } from '../support/conformance.js';
import { eachDevice } from '../support/devices.js';
import { type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';

/** Whatever the description says; the operations check it. */
type Options = Record<'kernel' | 'factor' | 'padding' | 'axis' | 'order' | 'start' | 'end', never> & {
  value?: never;
  heads?: never;
  axes?: never;
};

interface Case {
  id: string;
  op: string;
  options: Options;
  kinds: Record<string, ParameterKind>;
  inputs: string[];
}

const { cases } = loadGoldenJson<{ cases: Case[] }>('ops/torch.json');

/** Operations on images: NCHW in the file. */
const onImages = /^(conv|avgPool|maxPool|upsample|pad|groupNorm)/;

type Inputs = Record<string, Parameter>;
type Run = (inputs: Inputs, options: Options) => Tensor;

const of = (inputs: Inputs, name: string): Parameter => inputs[name] as Parameter;
const map =
  (run: (x: Tensor, options: object) => Tensor): Run =>
  (t, { factor, ...options }) =>
    run(ops.scale(of(t, 'x'), factor ?? 1), options);

/** How a case calls the operation, where that is not (x, options). */
const runs: Record<string, Run> = {
  conv2d: (t, options) => ops.conv2d(of(t, 'x'), of(t, 'weight'), { ...options, bias: t.bias }),
  convTranspose2d: (t, options) => ops.convTranspose2d(of(t, 'x'), of(t, 'weight'), { ...options, bias: t.bias }),
  linear: (t) => ops.linear(of(t, 'x'), of(t, 'weight'), { bias: t.bias }),
  groupNorm: (t, options) => ops.groupNorm(of(t, 'x'), of(t, 'weight'), of(t, 'bias'), options as never),
  layerNorm: (t, options) => ops.layerNorm(of(t, 'x'), t.weight ?? null, t.bias ?? null, options),
  relu: map((x) => ops.relu(x)),
  gelu: map(ops.gelu),
  silu: map((x) => ops.silu(x)),
  sigmoid: map((x) => ops.sigmoid(x)),
  tanh: map((x) => ops.tanh(x)),
  add: (t) => ops.add(of(t, 'a'), of(t, 'b')),
  sub: (t) => ops.sub(of(t, 'a'), of(t, 'b')),
  mul: (t) => ops.mul(of(t, 'a'), of(t, 'b')),
  avgPool2d: (t, { kernel, ...options }) => ops.avgPool2d(of(t, 'x'), kernel, options),
  maxPool2d: (t, { kernel, ...options }) => ops.maxPool2d(of(t, 'x'), kernel, options),
  upsample: (t, { factor }) => ops.upsample(of(t, 'x'), factor),
  pad: (t, { padding, ...options }) => ops.pad(of(t, 'x'), padding, options),
  softmax: (t) => ops.softmax(of(t, 'x')),
  attention: (t, options) => ops.attention(of(t, 'q'), of(t, 'k'), of(t, 'v'), options),
  concat: (t, { axis }) => ops.concat(of(t, 'a'), of(t, 'b'), axis),
  permute: (t, { order }) => ops.permute(of(t, 'x'), order),
  slice: (t, { axis, start, end }) => ops.slice(of(t, 'x'), axis, start, end),
  mean: (t, options) => ops.mean(of(t, 'x'), options),
  sum: (t, options) => ops.sum(of(t, 'x'), options),
};

let golden: Map<string, GoldenTensor>;
beforeAll(async () => {
  golden = await loadGolden('ops/torch.safetensors');
});

/** PyTorch's layout, and the engine's. */
function given(device: Device, { shape, values }: GoldenTensor, isImage: boolean): Tensor {
  return device.tensor(values, shape, { layout: isImage ? 'nchw' : 'nhwc' });
}

eachDevice((id, open) => {
  test.each(cases)(`$id on ${id} as PyTorch`, async ({ id: name, op, options, kinds, inputs }) => {
    const device = await open();
    const tensor = (key: string): GoldenTensor => golden.get(`${name}/${key}`) as GoldenTensor;
    const isImage = (key: string): boolean => onImages.test(op) && tensor(key).shape.length === 4 && !kinds[key];
    const parameters = Object.fromEntries(
      inputs.map((key) => {
        const { shape, values } = tensor(key);
        const kind = kinds[key] ?? 'plain';
        const axes = kind === 'conv' ? [2, 3, 1, 0] : kind === 'linear' ? [1, 0] : null;
        const engine = axes?.map((axis) => shape[axis] as number) ?? shape;
        const value = kind === 'plain' ? given(device, tensor(key), isImage(key)) : device.zeros(engine);
        const made = new Parameter(key, shape, kind, value, device.zeros(value.shape));
        if (kind !== 'plain') made.write(values);
        return [key, made];
      }),
    );
    const y = (runs[op] as Run)(parameters, options);
    const reference = { file: 'ops/torch', id: name, device: id };
    const layout = isImage('out') ? 'nchw' : 'nhwc';
    expect(tensor('out')).toBeDefined();
    conform(reference, 'output, rel L2', relL2(await y.read({ layout }), tensor('out').values), 1e-5);
    backward(ops.sum(ops.mul(y, given(device, tensor('grad_out'), isImage('out')))));
    for (const key of inputs) {
      const parameter = parameters[key] as Parameter;
      const gradient = isImage(key) ? await parameter.grad.read({ layout: 'nchw' }) : await parameter.readGrad();
      conform(reference, `gradient of ${key}, rel L2`, relL2(gradient, tensor(`grad_${key}`).values), 2e-5);
    }
  });
});
