import { join } from 'node:path';
import { beforeAll, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import type { ParameterKind } from '../../lib/autograd/parameterLayout.js';
import type { Device } from '../../lib/device.js';
import * as ops from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { maxAbs, maxRelative, relL2 } from '../support/compare.js';
import { conform } from '../support/conformance.js';
import { eachDevice } from '../support/devices.js';
import { type GoldenTensor, loadGolden } from '../support/golden.js';
import { withSharedGolden } from '../support/shared.js';

/** A parameter with the reference's values in PyTorch's layout, made into the engine's. */
function parameter(device: Device, { shape, values }: GoldenTensor, kind: ParameterKind): Parameter {
  const engine = kind === 'conv' ? [2, 3, 1, 0].map((axis) => shape[axis] as number) : shape;
  const made = new Parameter('parameter', shape, kind, device.zeros(engine), device.zeros(engine));
  made.write(values);
  return made;
}

interface Case {
  run(x: Tensor, parameters: Record<string, Parameter>): Tensor;
  parameters?: Record<string, ParameterKind>;
}

const conv = { 'op.weight': 'conv', 'op.bias': 'plain' } as const;

/** Cases on images: input x, output out, gradients by grad_out. */
const images: Record<string, Case> = {
  down_conv: {
    parameters: conv,
    run: (x, p) => ops.conv2d(x, p['op.weight'] as Parameter, { bias: p['op.bias'], stride: 2, padding: 1 }),
  },
  down_conv_odd: {
    parameters: conv,
    run: (x, p) => ops.conv2d(x, p['op.weight'] as Parameter, { bias: p['op.bias'], stride: 2, padding: 1 }),
  },
  up_conv: {
    parameters: { 'conv.weight': 'conv', 'conv.bias': 'plain' },
    run: (x, p) => ops.conv2d(x, p['conv.weight'] as Parameter, { bias: p['conv.bias'], padding: 1, upsample: true }),
  },
  groupnorm32_silu: {
    parameters: { '0.weight': 'plain', '0.bias': 'plain' },
    run: (x, p) => ops.groupNorm(x, p['0.weight'] as Parameter, p['0.bias'] as Parameter, { groups: 32, silu: true }),
  },
  op_down_avgpool: { run: (x) => ops.avgPool2d(x, 2) },
  op_up_nearest: { run: (x) => ops.upsample(x) },
};

const embeddings: [string, number, object][] = [
  ['temb_iddpm_32', 32, {}],
  ['temb_iddpm_7', 7, {}],
  ['temb_diffusers_16_flip_shift0', 16, {}],
  ['temb_diffusers_16_noflip_shift1', 16, { flipSinToCos: false, freqShift: 1 }],
  ['temb_diffusers_16_noflip_shift0', 16, { flipSinToCos: false }],
  ['temb_diffusers_16_flip_shift1', 16, { freqShift: 1 }],
  ['temb_diffusers_9_noflip_shift0', 9, { flipSinToCos: false }],
];

/** q, k and v, each [N, L, C], of qkv [N, 3C, L]: one after the other, or (`interleaved`) head by head. */
function splitQkv({ shape, values }: GoldenTensor, heads: number, interleaved: boolean): Float32Array[] {
  const [n, c3, l] = shape as [number, number, number];
  const c = c3 / 3;
  const d = c / heads;
  return [0, 1, 2].map((part) =>
    Float32Array.from({ length: n * l * c }, (_, i) => {
      const channel = i % c;
      const [sample, token] = [Math.floor(i / (l * c)), Math.floor(i / c) % l];
      const row = interleaved ? (Math.floor(channel / d) * 3 + part) * d + (channel % d) : part * c + channel;
      return values[(sample * c3 + row) * l + token] as number;
    }),
  );
}

withSharedGolden('operations against the original libraries', (folder) => {
  let golden: Map<string, GoldenTensor>;
  const check = (device: string, name: string, quantity: string, error: number, tolerance: number): void =>
    conform({ file: 'blocks/blocks', id: name, device }, quantity, error, tolerance);
  const tensor = (name: string): GoldenTensor => golden.get(name) as GoldenTensor;
  beforeAll(async () => {
    golden = await loadGolden(join(folder, 'blocks', 'blocks.safetensors'));
  });

  eachDevice((id, open) => {
    test.each(Object.entries(images))(`%s on ${id}`, async (name, { run, parameters: kinds = {} }) => {
      const device = await open();
      const given = (key: string): Tensor => {
        const { shape, values } = tensor(`${name}/${key}`);
        return device.tensor(values, shape, { layout: 'nchw' });
      };
      const parameters = Object.fromEntries(
        Object.entries(kinds).map(([key, kind]) => [key, parameter(device, tensor(`${name}/param/${key}`), kind)]),
      );
      const value = given('x');
      const x = new Parameter('x', value.shape, 'plain', value, device.zeros(value.shape));
      const y = run(x.value, parameters);
      const out = relL2(await y.read({ layout: 'nchw' }), tensor(`${name}/out`).values);
      check(id, name, 'output, relative L2', out, 1e-5);
      backward(ops.scale(ops.mean(ops.mul(y, given('grad_out'))), y.size));
      const gradient = relL2(await x.grad.read({ layout: 'nchw' }), tensor(`${name}/grad_x`).values);
      check(id, name, 'gradient of x, relative L2', gradient, 2e-5);
      for (const [key, one] of Object.entries(parameters)) {
        const error = relL2(await one.readGrad(), tensor(`${name}/grad_param/${key}`).values);
        check(id, name, `gradient of ${key}, relative L2`, error, 2e-5);
      }
    });

    test.each(embeddings)(`%s on ${id}`, async (name, dim, options) => {
      const device = await open();
      const { shape, values } = tensor(`${name}/t`);
      const y = await ops.timestepEmbedding(device.tensor(values, shape), dim, options).read();
      const out = tensor(`${name}/out`).values;
      for (const [n, t] of values.entries()) {
        const row = [n * dim, (n + 1) * dim] as const;
        check(id, name, `row of t = ${t}, max abs`, maxAbs(y.slice(...row), out.slice(...row)), t <= 10 ? 1e-6 : 1e-4);
      }
    });

    test.each([
      ['op_qkv_legacy', true],
      ['op_qkv_new', false],
    ] as const)(`%s on ${id}`, async (name, interleaved) => {
      const device = await open();
      const qkv = splitQkv(tensor(`${name}/qkv`), 4, interleaved);
      const [n, l, c] = [2, 9, 32];
      const [q, k, v] = qkv.map((values) => device.tensor(values, [n, l, c])) as [Tensor, Tensor, Tensor];
      const y = await ops.reshape(ops.attention(q, k, v, { heads: 4 }), [n, 1, l, c]).read({ layout: 'nchw' }); // [N, C, L]
      check(id, name, 'output, relative L2', relL2(y, tensor(`${name}/out`).values), 1e-5);
    });

    test(`op_silu on ${id}`, async () => {
      const device = await open();
      const { shape, values } = tensor('op_silu/x');
      const y = await ops.silu(device.tensor(values, shape)).read();
      check(id, 'op_silu', 'output, max relative', maxRelative(y, tensor('op_silu/out').values), 1e-5);
    });
  });
});
