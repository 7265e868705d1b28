import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { checkpoint } from '../../lib/autograd/checkpoint.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import type { Device } from '../../lib/device.js';
import { UNet } from '../../lib/nn/unet.js';
import type { UNetForwardOptions } from '../../lib/nn/unetArguments.js';
import type { UNetOptions } from '../../lib/nn/unetOptions.js';
import { openDevice } from '../../lib/openDevice.js';
import { mul } from '../../lib/ops/elementwise.js';
import { mean, mseLoss } from '../../lib/ops/reduce.js';
import { maxAbs } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';

const tiny: UNetOptions = {
  imageSize: 8,
  baseChannels: 8,
  channelMults: [1, 2],
  resBlocks: 1,
  attentionResolutions: [4],
  zeroInit: false,
};

/** One forward and backward pass; the gradients are in the store. */
function pass(device: Device, model: UNet, images: Parameter, options: UNetForwardOptions): void {
  device.scope(() => {
    const target = device.randn(images.shape, { seed: 6 });
    backward(mseLoss(model.forward(images, [3, 700.5], { train: true, ...options }), target));
  });
}

async function gradients(device: Device, options: UNetOptions, forward: UNetForwardOptions = {}, size = [8, 8]) {
  using model = new UNet(device, options);
  const shape = [2, ...size, model.inChannels];
  const value = device.randn(shape, { seed: 5 });
  const images = new Parameter('x', shape, 'plain', value, device.zeros(shape));
  device.seedState().write([1, 2, 3, 4]); // what is drawn without a seed
  pass(device, model, images, forward);
  const [weights, inputs] = await Promise.all([model.store.flatGrads.read(), images.grad.read()]);
  for (const tensor of [value, images.grad]) tensor.dispose();
  return { weights: weights as Float32Array, inputs: inputs as Float32Array };
}

eachDevice((_id, open) => {
  const cases: [string, UNetOptions, UNetForwardOptions?, number[]?][] = [
    ['plain', {}],
    ['dropout by a seed', { dropout: 0.3 }, { seed: 9 }],
    ["dropout by the device's own stream", { dropout: 0.3 }],
    ['classes, scale and shift', { timeEmbedding: 'scaleShift', numClasses: 3, heads: 2 }, { labels: [0, 2] }, [6, 10]],
    ['resampling in residual blocks', { resample: 'resBlock', dropout: 0.1, channelMults: [1, 2, 2] }, { seed: 2 }, [12, 4]],
    ['pooling, no middle', { resample: 'pool', midBlock: false, inChannels: 1 }],
  ];
  test.each(cases)('%s: the same gradients to the last bit', async (_name, options, forward, size) => {
    const device = await open();
    device.seedState(); // made on first use
    const { usedBytes } = device.memory();
    for (const dtype of device.info.bf16 ? (['f32', 'bf16'] as const) : (['f32'] as const)) {
      const kept = await gradients(device, { ...tiny, ...options, dtype }, forward, size);
      const again = await gradients(device, { ...tiny, ...options, dtype, gradientCheckpointing: true }, forward, size);
      expect(maxAbs(kept.weights, new Float32Array(kept.weights.length))).toBeGreaterThan(0);
      expect(maxAbs(again.weights, kept.weights), dtype).toBe(0);
      expect(maxAbs(again.inputs, kept.inputs), dtype).toBe(0);
    }
    expect(device.memory().usedBytes).toBe(usedBytes);
  });

  test('recorded, with a seed tensor that changes between the runs', async () => {
    const device = await open();
    const { usedBytes } = device.memory();
    const run = async (gradientCheckpointing: boolean) => {
      using model = new UNet(device, { ...tiny, dropout: 0.3, gradientCheckpointing });
      const shape = [2, 8, 8, 3];
      const value = device.randn(shape, { seed: 5 });
      const images = new Parameter('x', shape, 'plain', value, device.zeros(shape));
      const seed = device.tensor(Int32Array.of(7), [1]);
      const { flatGrads } = model.store;
      const program = device.record(() => {
        model.store.zeroGrad();
        images.zeroGrad();
        pass(device, model, images, { seed });
      });
      const taken = [(await flatGrads.read()) as Float32Array];
      for (const next of [7, 8]) {
        seed.write([next]);
        program.run();
        taken.push((await flatGrads.read()) as Float32Array);
      }
      for (const one of [program, seed, value, images.grad]) one.dispose();
      return taken;
    };
    const [kept, again] = [await run(false), await run(true)];
    expect(again).toEqual(kept);
    expect(maxAbs(kept[0] as Float32Array, kept[1] as Float32Array)).toBe(0);
    expect(maxAbs(kept[1] as Float32Array, kept[2] as Float32Array)).toBeGreaterThan(0);
    expect(device.memory().usedBytes).toBe(usedBytes);
  });

  test('what is written before the second run, and what fails in it', async () => {
    const device = await open();
    const [x, weight] = ['x', 'weight'].map(
      (name) => new Parameter(name, [2], 'plain', device.full([2], 3), device.zeros([2])),
    ) as [Parameter, Parameter];
    const { usedBytes } = device.memory();
    let runs = 0;
    const product = () =>
      checkpoint([x.value], [weight.value], (input) => {
        if (++runs === 6) throw new RangeError('the sixth run');
        return mul(input, weight);
      });
    device.scope(() => backward(mean(product())));
    expect([[...(await x.grad.read())], [...(await weight.grad.read())], runs]).toEqual([[1.5, 1.5], [1.5, 1.5], 2]);
    device.scope(() => {
      expect(() => backward(mean(mul(product(), product())))).toThrow('the sixth run');
    });
    expect(device.memory().usedBytes).toBe(usedBytes);
    device.scope(() => {
      const loss = mean(product());
      weight.write(Float32Array.of(1, 2));
      expect(() => backward(loss)).toThrow(/that checkpoint saved was written in place before backward/);
    });
  });
});

test('less memory at its peak', async () => {
  const peak = async (gradientCheckpointing: boolean) => {
    const device = await openDevice('cpu');
    using model = new UNet(device, {
      imageSize: 32,
      baseChannels: 32,
      channelMults: [1, 2, 2],
      attentionResolutions: [16],
      dropout: 0.1,
      gradientCheckpointing,
    });
    const images = device.randn([8, 32, 32, 3], { seed: 1 });
    model.store.zeroGrad();
    const weights = 2 * model.store.flatGrads.size * 4;
    backward(mean(model.forward(images, [1, 2, 3, 4, 5, 6, 7, 8], { train: true })));
    await device.synchronize();
    const { peakBytes } = device.memory();
    await device.close();
    return peakBytes - weights;
  };
  const [kept, again] = [await peak(false), await peak(true)];
  expect(again).toBeLessThan(0.6 * kept);
});
