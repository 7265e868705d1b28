import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import {
  DeviceMismatchError,
  DisposedError,
  DTypeError,
  GaussianDiffusion,
  NoiseSchedule,
  OptionError,
  openDevice,
  ShapeError,
  type Tensor,
} from '../../lib/index.js';
import { eachDevice } from '../support/devices.js';

const schedule = NoiseSchedule.linear({ timesteps: 20 });
// biome-ignore lint/suspicious/noExplicitAny: wrong arguments are the point
type Any = any;

eachDevice((_, open) => {
  let device: Device;
  let diffusion: GaussianDiffusion;
  let x: Tensor;
  beforeAll(async () => {
    device = await open();
    diffusion = new GaussianDiffusion(device, schedule);
    x = device.zeros([2, 3, 5, 1]);
  });

  test('the options show on the process', () => {
    const { prediction, variance, clipDenoised, rescaleTimesteps, loss, lossWeighting, timestepSampler } = diffusion;
    expect({ prediction, variance, clipDenoised, rescaleTimesteps, loss, lossWeighting, timestepSampler }).toEqual({
      prediction: 'epsilon',
      variance: 'fixedSmall',
      clipDenoised: true,
      rescaleTimesteps: false,
      loss: 'mse',
      lossWeighting: 'none',
      timestepSampler: 'uniform',
    });
    expect([diffusion.device, diffusion.schedule]).toEqual([device, schedule]);
  });

  test.each([
    [{ prediction: 'noise' }, /'prediction' must be one of 'epsilon', 'sample', 'v', 'previous', got 'noise'/],
    [{ variance: 'fixed' }, /'variance' must be one of 'fixedSmall', 'fixedLarge', 'learned', 'learnedRange', got 'fixed'/],
    [{ lossWeighting: 'minSnr', loss: 'kl' }, /'minSnr' goes only with errors of ε, x_0 or v, got loss 'kl'/],
    [{ dynamicThreshold: { ratio: 2 } }, /'dynamicThreshold.ratio' must be a number between 0 and 1, got 2/],
    [{ dynamicThreshold: { max: 0.5 } }, /'dynamicThreshold.max' must be a finite number of at least 1, got 0.5/],
    [{ loss: 'l2' }, /'loss' must be one of 'mse', 'rescaledMse', 'kl', 'rescaledKl', 'l1', 'huber', got 'l2'/],
    [{ lossWeighting: 'snr' }, /'lossWeighting' must be one of 'none', 'minSnr', got 'snr'/],
    [{ lossWeighting: 'minSnr', prediction: 'previous' }, /'minSnr' goes only with errors of ε, x_0 or v/],
    [{ timestepSampler: 'loss' }, /'timestepSampler' must be one of 'uniform', 'lossSecondMoment', got 'loss'/],
    [{ denoised: 1 }, /unknown option 'denoised'; known options are prediction, variance/],
    [{ denoisedFn: 1 }, /'denoisedFn' must be a function \(predXStart\) => Tensor, got 1/],
    [{ minSnrGamma: 0 }, /'minSnrGamma' must be a finite number above 0, got 0/],
    [{ clipDenoised: 1 }, /'clipDenoised' must be true or false, got 1/],
  ])('the options %o are refused', (options, message) => {
    const make = () => new GaussianDiffusion(device, schedule, options as Any);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(message);
  });

  test('the device and the schedule are checked', () => {
    expect(() => new GaussianDiffusion('cpu' as Any, schedule)).toThrow(/device must be a Device, got 'cpu'/);
    expect(() => new GaussianDiffusion(device, {} as Any)).toThrow(/schedule must be a NoiseSchedule, got an object/);
  });

  const methods: [string, (images: Tensor, t: Any, options?: Any) => unknown][] = [
    ['qStep', (images, t, options) => diffusion.qStep(images, t, options)],
    ['qSample', (images, t, options) => diffusion.qSample(images, t, options)],
    ['qMeanVariance', (images, t) => diffusion.qMeanVariance(images, t)],
    ['qPosterior', (images, t) => diffusion.qPosterior(images, images, t)],
    ['pMeanVariance', (images, t) => diffusion.pMeanVariance(images, images, t)],
    ['pSample', (images, t, options) => diffusion.pSample(images, images, t, options)],
    ['ddimSample', (images, t, options) => diffusion.ddimSample(images, images, t, options)],
    ['ddimReverseSample', (images, t) => diffusion.ddimReverseSample(images, images, t)],
    ['trainingLosses', (images, t, options) => diffusion.trainingLosses((xt) => xt, images, t, options)],
  ];

  describe.each(methods)('%s', (name, call) => {
    test.each<[Any, string, Any]>([
      [[0, 20], `${name}: t[1] must be an integer between 0 and 19, got 20`, OptionError],
      [[-1, 0], `${name}: t[0] must be an integer between 0 and 19, got -1`, OptionError],
      [[0.5, 0], `${name}: t[0] must be an integer`, OptionError],
      [[0], `${name}: t must hold one value for each of 2 samples, got 1`, ShapeError],
      [Float32Array.of(0, 0), `${name}: t must be an Int32Array, an array of integers or an i32 Tensor`, OptionError],
      [3, `${name}: t must be an Int32Array`, OptionError],
    ])('refuses t = %o', (t, message, Class) => {
      expect(() => call(x, t)).toThrow(Class);
      expect(() => call(x, t)).toThrow(message);
    });

    test('refuses steps and images in the wrong tensors', async () => {
      expect(() => call(x, device.zeros([2]))).toThrow(DTypeError);
      expect(() => call(x, device.zeros([3], { dtype: 'i32' }))).toThrow(ShapeError);
      expect(() => call(device.zeros(x.shape, { dtype: 'i32' }), [0, 0])).toThrow(DTypeError);
      expect(() => call([1, 2] as Any, [0, 0])).toThrow(OptionError);
      const gone = device.zeros(x.shape);
      gone.dispose();
      expect(() => call(gone, [0, 0])).toThrow(DisposedError);
      const other = await openDevice('cpu', { threads: 1 });
      expect(() => call(other.zeros(x.shape), [0, 0])).toThrow(DeviceMismatchError);
      await other.close();
    });

    test('fails when it runs with steps in a tensor that are out of range', async () => {
      const result = call(x, device.tensor([0, 20], [2], { dtype: 'i32' }));
      const [tensor] = Object.values(result === null || 'read' in (result as object) ? { result } : (result as object));
      await expect((tensor as Tensor).read()).rejects.toThrow(/t = 20 is outside the schedule of 20 steps/);
    });
  });

  describe.each(methods.filter(([, call]) => call.length === 3))('%s', (name, call) => {
    test.each<[Any, Any, RegExp]>([
      [{ sed: 1 }, OptionError, /unknown option 'sed'/],
      [{ seed: -1 }, OptionError, /'seed' must be an integer of at least 0/],
      [{ seed: 1, step: 0.5 }, OptionError, /'step' must be an integer/],
      [{ noise: [0] }, OptionError, /noise must be a Tensor/],
    ])('refuses the options %o', (options, Class, message) => {
      expect(() => call(x, [0, 0], options)).toThrow(Class);
      expect(() => call(x, [0, 0], options)).toThrow(message);
    });

    test('refuses noise of another shape', () => {
      const noise = device.zeros([2, 3, 5, 2]);
      expect(() => call(x, [0, 0], { noise })).toThrow(ShapeError);
      expect(() => call(x, [0, 0], { noise })).toThrow(`${name}: noise must have shape [2,3,5,1], got [2,3,5,2]`);
    });
  });

  test('arguments of single methods are checked', () => {
    const small = device.zeros([2, 3, 5]);
    expect(() => diffusion.pSample(small, x, [0, 0])).toThrow(/modelOutput must have shape \[2,3,5,1\]/);
    expect(() => diffusion.qPosterior(x, small, [0, 0])).toThrow(/xt must have shape/);
    expect(() => diffusion.qSample(small, [0, 0], { flip: true })).toThrow(/flip needs x0 of \[n, h, w, c\]/);
    expect(() => diffusion.ddimSample(x, x, [0, 0], { eta: 1.5 })).toThrow(/'eta' must be a number between 0 and 1/);
    expect(() => diffusion.trainingLosses({} as Any, x, [0, 0])).toThrow(/model must be a UNet or a function/);
    expect(() => diffusion.trainingLosses((xt) => xt, x, [0, 0], { labels: [1] })).toThrow(/labels must hold one value/);
    const bytes = device.zeros(x.shape, { dtype: 'u8' });
    expect(() => diffusion.qStep(bytes, [0, 0])).toThrow(DTypeError);
  });

  test('ε says nothing of x_0 where a schedule ends in pure noise, but v does', async () => {
    const pure = NoiseSchedule.fromBetas(Float64Array.of(0.1, 0.5, 1));
    const step = (prediction: 'epsilon' | 'v') =>
      new GaussianDiffusion(device, pure, { prediction }).ddimSample(x, x, [2, 2]).sample;
    expect(() => step('epsilon')).toThrow(/x_0 is lost at step 2/);
    expect((await step('v').read()).every(Number.isFinite)).toBe(true);
  });

  test('dispose frees the tables and ends its use', async () => {
    await device.synchronize();
    const before = device.memory().usedBytes;
    const short = new GaussianDiffusion(device, schedule);
    device.scope(() => {
      short.pSample(x, x, [1, 2], { seed: 1 });
    });
    expect(device.memory().usedBytes).toBeGreaterThan(before);
    short.dispose();
    await device.synchronize();
    expect(device.memory().usedBytes).toBe(before);
    short[Symbol.dispose]();
    expect(() => short.qSample(x, [0, 0])).toThrow(DisposedError);
    expect(() => short.trainingLosses((xt) => xt, x, [0, 0])).toThrow(DisposedError);
  });
});

test('a process needs a device that is open', async () => {
  const device = await openDevice('cpu', { threads: 1 });
  await device.close();
  expect(() => new GaussianDiffusion(device, schedule)).toThrow(DisposedError);
});
