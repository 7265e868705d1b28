import { GaussianDiffusion, NoiseSchedule, noGrad, openDevice, UNet } from 'diffusion-native';
import { describe, expect, test } from 'vitest';
import { nameOf, parametersOf, specsOf } from '../../bench/kernelSpecs.js';
import { callsOf } from '../../bench/networkCalls.js';
import { cifar10, imagenet64, tiny } from '../../bench/networks.js';

const info = { id: 'cpu', available: true, bf16: true };

describe('the operations of a network, without running it', () => {
  test('the networks are those of the literature', () => {
    expect(parametersOf(callsOf(info, cifar10, 'f32', 1).parameters)).toBe(35_746_307);
    expect(parametersOf(callsOf(info, imagenet64, 'f32', 1).parameters)).toBe(121_063_942);
  });

  test('convolutions are as many as the network has', () => {
    const { forward, step } = callsOf(info, cifar10, 'bf16', 4);
    const count = (calls: typeof step, name: string) => calls.filter((call) => call.name === name).length;
    // 52 of 3×3 and the 13 shortcuts; the input needs no gradient.
    expect(count(forward, 'conv2d')).toBe(65);
    expect(count(step, 'conv2d')).toBe(65);
    expect(count(step, 'conv2dBackwardWeights')).toBe(65);
    expect(count(step, 'conv2dBackwardData')).toBe(64);
    expect(count(forward, 'attention')).toBe(6);
    expect(count(step, 'groupNormBackward')).toBe(51);
    expect(count(step, 'adamW')).toBe(1);
    expect(count(forward, 'reverseStep')).toBe(1);
  });

  test('every distinct one is timed once', () => {
    const names = specsOf(callsOf(info, cifar10, 'f32', 4)).map(nameOf);
    expect(new Set(names).size).toBe(names.length);
    for (const pass of ['forward', 'data', 'weights']) {
      expect(names).toContain(`conv 3×3, 32², 128 → 128, ${pass}`);
      expect(names).toContain(`conv 3×3, 16², upsampled, 256 → 256, ${pass}`);
      expect(names).toContain(`conv 3×3, 32², stride 2, 128 → 128, ${pass}`);
      expect(names).toContain(`conv 1×1, 16², 384 → 256, ${pass}`);
    }
    expect(names).not.toContain('conv 3×3, 32², 3 → 128, data');
    for (const one of [
      'noising 32²×3',
      'reverse step 32²×3',
      'groupNorm+silu 1024×128, backward',
      'optimiser, 35.7 M parameters',
    ])
      expect(names).toContain(one);
  });

  test('heads and the learned variance of the ImageNet network show', () => {
    const names = specsOf(callsOf(info, imagenet64, 'f32', 2)).map(nameOf);
    expect(names).toContain('attention 256×384, 4 heads, backward');
    expect(names).toContain('conv 3×3, 64², 128 → 6, forward');
  });

  test('shapes are of the batch that is asked for', () => {
    const [first] = callsOf(info, tiny, 'f32', 3).step.filter(({ name }) => name === 'conv2d');
    expect(first?.fields[0]).toEqual({ dtype: 'f32', shape: [3, 8, 8, 3] });
  });

  test('they are what a recording of the network holds', async () => {
    const batch = 3;
    const device = await openDevice('cpu');
    const model = new UNet(device, tiny.unet);
    const diffusion = new GaussianDiffusion(device, NoiseSchedule.linear(), { variance: tiny.variance });
    const x = device.randn([batch, 8, 8, 3], { seed: 1 });
    const t = device.tensor(Int32Array.of(1, 500, 999), [batch]);
    const predict = () => noGrad(() => void diffusion.pSample(model.forward(x, t), x, t, { seed: 1 }));
    device.scope(predict); // makes what is made on first use
    const { commands } = device.record(() => device.scope(predict));
    const { forward } = callsOf(device.info, tiny, 'f32', batch);
    expect(forward.map(({ name }) => name)).toEqual(commands.map(({ name }) => name));
    await device.close();
  });
});
