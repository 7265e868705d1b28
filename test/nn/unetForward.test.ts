import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { noGrad } from '../../lib/autograd/tape.js';
import type { Device } from '../../lib/device.js';
import { DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors.js';
import { UNet } from '../../lib/nn/unet.js';
import type { UNetForwardOptions } from '../../lib/nn/unetArguments.js';
import type { UNetOptions } from '../../lib/nn/unetOptions.js';
import { mseLoss } from '../../lib/ops/reduce.js';
import { relL2 } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { randomValues } from '../support/values.js';

const tiny: UNetOptions = { imageSize: 8, baseChannels: 8, channelMults: [1, 2], attentionResolutions: [4], zeroInit: false };

/** Loss of a forward pass on fixed images against fixed targets. */
function lossOf(device: Device, model: UNet, size: readonly number[], options: UNetForwardOptions) {
  return device.scope(() => {
    const xt = device.randn([2, ...size, model.inChannels], { seed: 5 });
    const target = device.randn([2, ...size, model.outChannels], { seed: 6 });
    return mseLoss(model.forward(xt, [3, 700.5], options), target);
  });
}

const lossValue = async (device: Device, ...rest: [UNet, readonly number[], UNetForwardOptions]) => {
  const loss = noGrad(() => lossOf(device, ...rest));
  const [value] = await loss.read();
  loss.dispose();
  return value as number;
};

eachDevice((_id, open) => {
  const shapes: [string, UNetOptions, [number, number], number[]?][] = [
    ['one level, one channel', { channelMults: [1], inChannels: 1, attentionResolutions: [] }, [5, 7]],
    ['not square, four channels in, five out', { inChannels: 4, outChannels: 5, imageSize: [8, 12] }, [8, 12]],
    ['scale and shift, heads', { timeEmbedding: 'scaleShift', heads: 2, attentionResolutions: [8, 4] }, [6, 10]],
    ['a channel a group', { baseChannels: 6, groups: 6, channelMults: [1, 1], headChannels: 3 }, [4, 6]],
    ['classes and dropout', { numClasses: 3, dropout: 0.3 }, [8, 8], [2, 0]],
    ['resampling in residual blocks', { resample: 'resBlock', timeEmbedding: 'scaleShift', dropout: 0.1 }, [4, 12]],
    ['pooling, odd channels, no middle', { resample: 'pool', baseChannels: 7, groups: 7, midBlock: false }, [6, 4]],
    ['a middle without attention or norm', { midAttention: false, midBlockScaleFactor: 1.5, centerInputSample: true }, [8, 8]],
    ['attention in the middle without norm', { timeEmbedding: 'scaleShift', attnNormGroups: null, downsamplePadding: 0 }, [8, 8]],
    ['steps like Ho et al.', { flipSinToCos: false, freqShift: 1, timeEmbeddingDim: 20, baseChannels: 6, groups: 2 }, [4, 4]],
    ['labels like steps', { classEmbedType: 'timestep' }, [8, 8], [2, 0.5]],
    ['fractions of channels, three levels', { channelMults: [1, 0.5, 3], resBlocks: 1, inChannels: 2 }, [12, 4]],
  ];
  test.each(shapes)('%s: gradients agree with differences', async (_name, options, size, labels) => {
    const device = await open();
    const { usedBytes } = device.memory();
    const model = new UNet(device, { ...tiny, ...options });
    const { flatValues, flatGrads } = model.store;
    const start = (await flatValues.read()) as Float32Array;
    const training = { train: true, seed: 3, labels };
    const loss = lossOf(device, model, size, training);
    backward(loss);
    loss.dispose();
    const gradient = (await flatGrads.read()) as Float32Array;
    // Along a random direction that also has a share of the gradient, so that the loss moves well above its rounding.
    const norm = Math.sqrt(gradient.reduce((sum, value) => sum + value * value, 0));
    const random = randomValues(start.length, 8);
    const direction = gradient.map((value, i) => value / norm + (random[i] as number) / Math.sqrt(start.length));
    const slope = gradient.reduce((sum, value, i) => sum + value * (direction[i] as number), 0);
    const at = async (step: number) => {
      flatValues.write(start.map((value, i) => value + step * (direction[i] as number)));
      return lossValue(device, model, size, training);
    };
    const h = 2e-2;
    const [far, near] = [(await at(2 * h)) - (await at(-2 * h)), (await at(h)) - (await at(-h))];
    expect((8 * near - far) / (12 * h)).toBeCloseTo(slope, 2 - Math.ceil(Math.log10(Math.abs(slope))));
    model.dispose();
    expect(device.memory().usedBytes).toBe(usedBytes);
  });

  test('a class moves the output as its row of the table added to the time embedding would', async () => {
    const device = await open();
    using plain = new UNet(device, tiny);
    using model = new UNet(device, { ...tiny, numClasses: 4 });
    for (const [name, parameter] of plain.parameters())
      model
        .parameters()
        .get(name)
        ?.write(await parameter.read());
    const table = model.parameters().get('class_embedding.weight');
    const bias = plain.parameters().get('time_embedding.linear_2.bias');
    if (!table || !bias) throw new Error('a parameter is missing');
    const rows = await table.read();
    const before = await bias.read();
    const xt = device.randn([3, 8, 8, 3], { seed: 2 });
    const conditional = (await model.forward(xt, [1, 2, 3], { labels: [2, 2, 2] }).read()) as Float32Array;
    bias.write(before.map((value, i) => value + (rows[2 * 32 + i] as number)));
    expect(relL2(conditional, (await plain.forward(xt, [1, 2, 3]).read()) as Float32Array)).toBeLessThan(2e-6);
    table.write(new Float32Array(rows.length));
    bias.write(before);
    expect(await model.forward(xt, [1, 2, 3], { labels: [0, 1, 3] }).read()).toEqual(await plain.forward(xt, [1, 2, 3]).read());

    const loss = mseLoss(model.forward(xt, [1, 2, 3], { labels: Int32Array.of(2, 0, 2), train: true }), xt);
    backward(loss);
    const perClass = await table.readGrad();
    const shared = (await model.parameters().get('time_embedding.linear_2.bias')?.readGrad()) as Float32Array;
    const sum = shared.map((_, i) => [0, 1, 2, 3].reduce((total, row) => total + (perClass[row * 32 + i] as number), 0));
    expect(relL2(sum, shared)).toBeLessThan(2e-6);
    for (const row of [1, 3]) expect(perClass.subarray(row * 32, row * 32 + 32).every((value) => value === 0)).toBe(true);
    expect(perClass.subarray(64, 96).some((value) => value !== 0)).toBe(true);
  });

  test('dropout acts in training only, by the seed', async () => {
    const device = await open();
    using model = new UNet(device, { ...tiny, dropout: 0.5 });
    const value = (options: UNetForwardOptions) => lossValue(device, model, [8, 8], options);
    const seeded = await value({ train: true, seed: 1 });
    expect(await value({ train: true, seed: 1 })).toBe(seeded);
    expect(await value({ train: true, seed: device.tensor(Int32Array.of(1, 0), [2]) })).toBe(seeded);
    expect(await value({ train: true, seed: 2 })).not.toBe(seeded);
    expect(await value({ train: true })).not.toBe(await value({ train: true }));
    using without = new UNet(device, tiny);
    expect(await value({ seed: 1 })).toBe(await lossValue(device, without, [8, 8], {}));
  });

  test('a sample does not depend on the rest of its batch, and t may come in any form', async () => {
    const device = await open();
    using model = new UNet(device, tiny);
    const xt = device.randn([3, 8, 8, 3], { seed: 4 });
    const t = [0, 500, 999];
    const expected = (await model.forward(xt, t).read()) as Float32Array;
    for (const form of [Int32Array.from(t), Float32Array.from(t), device.tensor(Int32Array.from(t), [3]), device.tensor(t, [3])])
      expect(await model.forward(xt, form).read()).toEqual(expected);
    const alone = device.tensor(((await xt.read()) as Float32Array).subarray(192, 384), [1, 8, 8, 3]);
    expect(relL2((await model.forward(alone, [500]).read()) as Float32Array, expected.subarray(192, 384))).toBeLessThan(1e-6);
  });

  test('recorded, it predicts again from what the tensors hold by then', async () => {
    const device = await open();
    using model = new UNet(device, tiny);
    const xt = device.randn([1, 8, 8, 3], { seed: 4 });
    const t = device.tensor(Int32Array.of(10), [1]);
    using program = device.record(() => model.forward(xt, t));
    expect(await program.result.read()).toEqual(await model.forward(xt, [10]).read());
    xt.write(randomValues(192, 9));
    t.write([900]);
    program.run();
    expect(await program.result.read()).toEqual(await model.forward(xt, [900]).read());
  });

  test('wrong arguments', async () => {
    const device = await open();
    using model = new UNet(device, tiny);
    using conditional = new UNet(device, { ...tiny, numClasses: 3 });
    const xt = device.zeros([2, 8, 8, 3]);
    const t = [1, 2];
    const refuse = (run: () => unknown, type: new (...args: never[]) => Error, message: RegExp) => {
      expect(run).toThrow(type);
      expect(run).toThrow(message);
    };
    refuse(() => model.forward(device.zeros([2, 7, 8, 3]), t), ShapeError, /divisible by 2, got \[2,7,8,3\]/);
    refuse(() => model.forward(device.zeros([2, 8, 8, 4]), t), ShapeError, /\[N, H, W, 3\], got \[2,8,8,4\]/);
    refuse(() => model.forward(device.zeros([2, 8, 8, 3], { dtype: 'u8' }), t), DTypeError, /xt must hold f32, got u8/);
    refuse(() => model.forward([1] as never, t), OptionError, /xt must be a Tensor/);
    refuse(() => model.forward(xt, [1]), ShapeError, /t must hold one value for each of 2 samples, got 1/);
    refuse(() => model.forward(xt, [1, Number.NaN]), OptionError, /t\[1\] must be a finite number, got NaN/);
    refuse(() => model.forward(xt, 'now' as never), DTypeError, /t must be an Int32Array/);
    refuse(() => model.forward(xt, device.zeros([3])), ShapeError, /t must have shape \[2\], got \[3\]/);
    refuse(() => model.forward(xt, t, { labels: [0, 1] }), OptionError, /'labels' must be left out/);
    refuse(() => model.forward(xt, t, { train: 1 } as never), OptionError, /'train' must be true or false/);
    refuse(() => model.forward(xt, t, { seed: -1 }), OptionError, /'seed' must be an integer/);
    refuse(() => model.forward(xt, t, { label: [0] } as never), OptionError, /unknown option 'label'/);
    refuse(() => conditional.forward(xt, t), OptionError, /'labels' is required: the network has 3 classes/);
    refuse(() => conditional.forward(xt, t, { labels: [0, 3] }), OptionError, /labels\[1\] must be .* between -1 and 2, got 3/);
    refuse(() => conditional.forward(xt, t, { labels: device.zeros([2]) }), DTypeError, /labels must hold i32, got f32/);
    refuse(() => conditional.forward(xt, t, { labels: [0] }), ShapeError, /labels must hold one value for each of 2/);
    const gone = new UNet(device, tiny);
    gone.dispose();
    gone.dispose();
    refuse(() => gone.forward(xt, t), DisposedError, /disposed/);
    refuse(() => gone.clone(), DisposedError, /disposed/);
    await expect(gone.save('/nowhere')).rejects.toThrow(DisposedError);
  });
});
