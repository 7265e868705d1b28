import { join } from 'node:path';
import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import { OptionError } from '../../lib/errors.js';
import { blocks, ops } from '../../lib/index.js';
import { permute, type Tensor } from '../../lib/tensor.js';
import { relL2 } from '../support/compare.js';
import { conform } from '../support/conformance.js';
import { eachDevice } from '../support/devices.js';
import { type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';
import { goldenPath, sharedGolden } from '../support/shared.js';
import { type BlockCase, BlockParameters, runOf } from './blockCases.js';

const folder = sharedGolden ? join(sharedGolden, 'blocks') : goldenPath('blocks');
const cases = loadGoldenJson<{ cases: BlockCase[] }>(join(folder, 'blocks.json')).cases.filter((one) => runOf(one));

eachDevice((id, open) => {
  test.each(cases)('$id: output and every gradient', async (one) => {
    const device = await open();
    const { usedBytes } = device.memory();
    const tensors = await loadGolden(join(folder, 'blocks.safetensors'));
    const golden = (name: string) => tensors.get(`${one.id}/${name}`) as GoldenTensor;
    const check = (quantity: string, error: number, tolerance: number) =>
      conform({ file: 'blocks/blocks', id: one.id, device: id }, quantity, error, tolerance);
    const image = (name: string) => device.tensor(golden(name).values, golden(name).shape, { layout: 'nchw' });

    const shape = permute(golden('x').shape, [0, 2, 3, 1]);
    const x = new Parameter('x', shape, 'plain', image('x'), device.zeros(shape));
    const parameters = new BlockParameters(device, golden);
    const timeName = ['emb', 'temb'].find((name) => tensors.has(`${one.id}/${name}`));
    // A parameter [N, D] as it is: its rows are samples, not outputs.
    const time = timeName
      ? new Parameter(
          timeName,
          golden(timeName).shape,
          'plain',
          device.tensor(golden(timeName).values, golden(timeName).shape),
          device.zeros(golden(timeName).shape),
        )
      : null;
    const { out, loss } = device.scope(() => {
      const out = runOf(one)?.(x, time && ops.silu(time), parameters, one) as Tensor;
      return { out, loss: ops.scale(ops.mean(ops.mul(out, image('grad_out'))), out.size) };
    });
    check('output, relative L2', relL2((await out.read({ layout: 'nchw' })) as Float32Array, golden('out').values), 1e-5);
    backward(loss);
    const gradX = (await x.grad.read({ layout: 'nchw' })) as Float32Array;
    check('gradient of x, relative L2', relL2(gradX, golden('grad_x').values), 2e-5);
    if (time) check('gradient of the time, relative L2', relL2(await time.readGrad(), golden(`grad_${timeName}`).values), 2e-5);
    for await (const [name, gradient] of parameters.gradients())
      if (!one.float32_vs_float64_noise.zero_gradient_tensors.includes(name))
        check(`gradient of ${name}, relative L2`, relL2(gradient, golden(`grad_param/${name}`).values), 2e-5);

    const made = [x, ...(time ? [time] : []), ...parameters.made.values()];
    for (const tensor of [out, loss, ...made.flatMap(({ value, grad }) => [value, grad])]) tensor.dispose();
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
    expect(() => blocks.residual(x, weights, { groups: 2, skip, resample: 'up' })).toThrow(/does not go with a skip/);
    expect(() => blocks.residual(x, weights, { groups: 2, resample: 'half' as never })).toThrow(/'down', 'up' or null/);
    expect(() => blocks.down(x, null, { padding: 1 })).toThrow(/does not go without weights/);
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
