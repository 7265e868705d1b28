import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { OptionError } from '../../lib/errors.js';
import { UNet } from '../../lib/nn/unet.js';
import { openDevice } from '../../lib/openDevice.js';
import { scale } from '../../lib/ops/elementwise.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import type { Tensor } from '../../lib/tensor.js';

let device: Device;
let network: UNet;
let diffusion: GaussianDiffusion;
beforeAll(async () => {
  device = await openDevice('cpu');
  diffusion = new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 50 }));
  network = new UNet(device, { imageSize: 8, baseChannels: 8, channelMults: [1, 2], resBlocks: 1, attentionResolutions: [4] });
  using sampler = new Sampler(diffusion, network, { steps: 2 });
  (await sampler.sample()).dispose(); // what the network makes on first use stays
});
afterAll(() => device.close());

const usedBytes = () => device.memory().usedBytes;
const shape = [8, 8, 3] as const;

describe('memory', () => {
  test('comes back after every way out', async () => {
    const before = usedBytes();
    const sampler = new Sampler(diffusion, network, { steps: 8 });
    const ready = usedBytes();
    (await sampler.sample({ count: 5, batchSize: 2, seed: 1 })).dispose();
    expect(usedBytes()).toBe(ready);

    for await (const { step } of sampler.steps({ count: 2 })) if (step === 3) break;
    expect(usedBytes()).toBe(ready);

    const error = new Error('no more');
    const consume = async () => {
      for await (const { step } of sampler.steps({ count: 2 })) if (step === 2) throw error;
    };
    await expect(consume()).rejects.toBe(error);
    expect(usedBytes()).toBe(ready);
    sampler.dispose();
    sampler.dispose();
    expect(usedBytes()).toBe(before);
    await expect(sampler.sample()).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
  });

  test('tensors of an item live until the next; the last holds what sample gives', async () => {
    using sampler = new Sampler(diffusion, network, { steps: 3 });
    const items: Tensor[] = [];
    for await (const { x, predXStart } of sampler.steps({ seed: 1 })) {
      expect(items.every((tensor) => tensor.disposed)).toBe(true);
      items.push(x, predXStart);
      expect(x.disposed || predXStart.disposed).toBe(false);
    }
    expect(items.every((tensor) => tensor.disposed)).toBe(true);
  });

  test('given tensors may be disposed at once', async () => {
    using sampler = new Sampler(diffusion, network, { steps: 2 });
    const initial = device.randn([2, ...shape], { seed: 1 });
    const noise = device.randn([2, ...shape], { seed: 2 });
    const first = await sampler.sample({ initial, noises: [noise] });
    const pending = sampler.sample({ initial, noises: [noise] });
    initial.dispose();
    noise.dispose();
    expect(await (await pending).read()).toEqual(await first.read());
  });
});

describe('an AbortSignal', () => {
  test('stops between two steps with an AbortError and leaves nothing behind', async () => {
    using sampler = new Sampler(diffusion, network);
    const ready = usedBytes();
    const controller = new AbortController();
    const sampling = sampler.sample({ count: 40, batchSize: 1, signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    await expect(sampling).rejects.toMatchObject({ name: 'AbortError' });
    expect(usedBytes()).toBe(ready);
    await expect(sampler.sample({ signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });

    const seen: number[] = [];
    const stepper = new AbortController();
    const consume = async () => {
      for await (const { step } of sampler.steps({ signal: stepper.signal })) {
        seen.push(step);
        if (step === 2) stepper.abort();
      }
    };
    await expect(consume()).rejects.toMatchObject({ name: 'AbortError' });
    expect(seen).toEqual([1, 2]);
    expect(usedBytes()).toBe(ready);
  });
});

describe('a function as model', () => {
  test('may be sync or async; what it is handed lives until its promise settles', async () => {
    const handed: Tensor[] = [];
    const sync = (xt: Tensor, t: Tensor) => {
      handed.push(xt, t);
      return scale(xt, 0.3, 0.05);
    };
    const slow = async (xt: Tensor, t: Tensor) => {
      handed.push(xt, t);
      await new Promise((resolve) => setTimeout(resolve, 5));
      return scale(xt, 0.3, 0.05);
    };
    const results = [];
    const before = usedBytes();
    for (const model of [sync, slow]) {
      using sampler = new Sampler(diffusion, model, { steps: 4, shape });
      using images = await sampler.sample({ count: 3, batchSize: 2, seed: 5 });
      results.push(await images.read());
    }
    expect(results[0]).toEqual(results[1]);
    expect(handed.length).toBe(2 * 2 * 2 * 4);
    expect(handed.every((tensor) => tensor.disposed)).toBe(true);
    expect(usedBytes()).toBe(before);
  });

  test('may return what it was handed', async () => {
    using sampler = new Sampler(diffusion, (xt) => xt, { steps: 3, shape });
    using images = await sampler.sample({ seed: 1 });
    expect(((await images.read()) as Float32Array).every(Number.isFinite)).toBe(true);
  });

  test('is refused what does not fit, and its own errors come through', async () => {
    const error = new Error('session lost');
    const run = (model: () => Tensor | Promise<Tensor>) =>
      new Sampler(diffusion, model, { steps: 2, shape }).sample({ count: 2 });
    await expect(run(() => device.zeros([2, 8, 8, 1]))).rejects.toThrow(/model output.*\[2,8,8,3\].*\[2,8,8,1\]/);
    await expect(run(async () => device.zeros([1, ...shape]))).rejects.toMatchObject({ code: 'ERR_SHAPE' });
    await expect(run(() => device.zeros([2, ...shape], { dtype: 'bf16' }))).rejects.toMatchObject({ code: 'ERR_DTYPE' });
    await expect(run(() => 7 as never)).rejects.toMatchObject({ code: 'ERR_OPTION' });
    await expect(run(() => Promise.reject(error))).rejects.toBe(error);
    await expect(
      run(() => {
        throw error;
      }),
    ).rejects.toBe(error);
  });

  test('needs a shape or an initial batch', async () => {
    using sampler = new Sampler(diffusion, (xt) => scale(xt, 0), { steps: 2 });
    await expect(sampler.sample({ count: 1 })).rejects.toThrow(/'shape'.*'initial'/);
    using images = await sampler.sample({ initial: device.randn([3, 4, 6, 2], { seed: 1 }) });
    expect(images.shape).toEqual([3, 4, 6, 2]);
  });
});

describe('wrong options', () => {
  test.each([
    [{ method: 'newton' }, /'method' must be one of 'ddpm', 'ddim', .*'heun', got 'newton'/],
    [{ method: 'euler', order: 3 }, /'order' goes only with method 'dpmSolver\+\+', got 'euler'/],
    [{ method: 'ddim', sChurn: 1 }, /'sChurn' goes only with method 'euler', 'heun'/],
    [{ method: 'ddim', spacing: 'karras' }, /Karras's noise levels go only with/],
    [{ method: 'dpmSolver++', order: 4 }, /'order' must be an integer between 1 and 3, got 4/],
    [{ method: 'dpmSolver++', lambdaMinClipped: 9 }, /'lambdaMinClipped' = 9 leaves no step/],
    [{ steps: 0 }, /'steps'/],
    [{ steps: 51 }, /'steps' must be at most 50.*51/],
    [{ method: 'ddim', eta: 1.5 }, /'eta'/],
    [{ method: 'ddpm', eta: 0.5 }, /'eta' goes only with method 'ddim'/],
    [{ spacing: 'even' }, /'spacing'/],
    [{ shape: [8, 8] }, /'shape'/],
    [{ stepz: 4 }, /unknown option 'stepz'/],
  ])('new Sampler: %o', (options, message) => {
    const make = () => new Sampler(diffusion, network, options as never);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(message);
  });

  test.each([
    [{ count: 0 }, /'count'/],
    [{ first: -1 }, /'first'/],
    [{ first: 2 ** 32 - 1, count: 2 }, /'first' \+ 'count'/],
    [{ batchSize: 0 }, /'batchSize'/],
    [{ seed: -1 }, /'seed'/],
    [{ guidance: 3 }, /'guidance' needs option 'labels'/],
    [{ guidance: Number.NaN }, /'guidance'/],
    [{ labels: [0] }, /'labels'.*no classes/],
    [{ noises: [] }, /'noises' must hold 1 tensors/],
    [{ noises: 4 }, /'noises'/],
    [{ initial: 4 }, /'initial' must be a Tensor/],
    [{ signal: 4 }, /'signal'/],
    [{ counts: 4 }, /unknown option 'counts'/],
  ])('sample: %o', async (options, message) => {
    using sampler = new Sampler(diffusion, network, { steps: 2 });
    await expect(sampler.sample(options as never)).rejects.toThrow(message);
    if (!('batchSize' in options)) expect(() => sampler.steps(options as never)).toThrow(message);
    await expect(sampler.sample({ initial: device.zeros([1, 8, 8, 3]), count: 2 })).rejects.toMatchObject({ code: 'ERR_SHAPE' });
  });

  test('a network of another device, or none', async () => {
    const other = await openDevice('cpu');
    const elsewhere = new UNet(other, { imageSize: 8, baseChannels: 8, channelMults: [1] });
    expect(() => new Sampler(diffusion, elsewhere)).toThrow(/another device/);
    expect(() => new Sampler(diffusion, {} as never)).toThrow(OptionError);
    expect(() => new Sampler({} as never, network)).toThrow(/'diffusion' must be a GaussianDiffusion/);
    await other.close();
  });
});
