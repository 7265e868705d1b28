import { describe, expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { reverseStep } from '../../lib/diffusion/kernels.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { type DirectPrediction, reverseColumns, reverseTable } from '../../lib/diffusion/tables.js';
import { add, mean, mul } from '../../lib/ops/index.js';
import { noRng } from '../../lib/random.js';
import type { Tensor } from '../../lib/tensor.js';
import { entryOf, type GoldenTensor, loadGoldenJson } from '../support/golden.js';
import { type TinyModelParameters, tinyModel } from '../support/tinyModel.js';
import { conformGradient, eachReference, upload, values } from './process.js';

interface LucidrainsCase {
  id: string;
  schedule: 'linear' | 'cosine' | 'sigmoid';
  T: number;
  objective: 'pred_noise' | 'pred_x0' | 'pred_v';
  min_snr: boolean;
  gamma: number;
  model: TinyModelParameters;
  ddim?: { eta: number; times: number[] };
  tensors: string[];
}

const file = 'process/lucidrains';
const { cases } = loadGoldenJson<{ cases: LucidrainsCase[] }>(`${file}.json`);
const predictions = { pred_noise: 'epsilon', pred_x0: 'sample', pred_v: 'v' } as const;

function scheduleOf({ schedule, T: timesteps }: LucidrainsCase): NoiseSchedule {
  if (schedule === 'linear') return NoiseSchedule.linear({ timesteps, rescaled: true });
  if (schedule === 'cosine') return NoiseSchedule.cosine({ timesteps });
  // Its betas are off in the eighth digit, since the ends of the curve are float32 there.
  const { cases: curves } = loadGoldenJson<{ cases: { id: string; betas: number[] }[] }>('schedules/lucidrains.json');
  return NoiseSchedule.fromBetas(curves.find((curve) => curve.id === `lucidrains_sigmoid_T${timesteps}_-3_3_1`)?.betas ?? []);
}

eachReference(file, (on) => {
  const parts = (example: LucidrainsCase) => {
    const { reference, input, close } = on.of(example);
    return {
      reference,
      input,
      close,
      t: Array.from(reference('t').values),
      prediction: predictions[example.objective] as DirectPrediction,
    };
  };

  test.each(cases)('$id: losses and gradient of denoising-diffusion-pytorch', async (example) => {
    const { reference, input, close, t, prediction } = parts(example);
    using diffusion = new GaussianDiffusion(on.device, scheduleOf(example), {
      prediction,
      ...(example.min_snr && { lossWeighting: 'minSnr', minSnrGamma: example.gamma }),
    });
    const output = input('model_output');
    const parameter = new Parameter('output', output.shape, 'plain', output, on.device.zeros(output.shape));
    const zero = on.device.zeros(output.shape);
    const seen: { xt?: Tensor } = {};
    const model = (xt: Tensor) => {
      seen.xt = on.device.unscoped(() => xt.alias());
      return add(parameter, zero);
    };
    const { loss, mse } = diffusion.trainingLosses(model, input('x_start'), t, { noise: input('noise') });
    await close(seen.xt as Tensor, 'x_t');
    // Without min-SNR it has weights of its own: snr of x_0, snr/(snr + 1) of v.
    const weights = reference('loss_weight');
    if (example.min_snr) {
      const found = await Promise.all([loss.read(), (mse as Tensor).read()]);
      await close(
        Float32Array.from(found[0], (value, n) => value / (found[1][n] as number)),
        'loss_weight',
      );
    }
    const weighted = example.min_snr ? loss : mul(loss, on.device.tensor(weights.values, [t.length]));
    await close(weighted, 'loss', 2e-4, 2e-6);
    backward(mean(weighted));
    const expected = reference('grad_model_output').values;
    conformGradient({ file, id: example.id, device: on.id }, await values(parameter.grad), expected, t.length, 1e-3);
    if (prediction !== 'v') return;
    const same = diffusion.trainingLosses(() => input('v_target'), input('x_start'), t, { noise: input('noise') });
    expect(Math.max(...(await values(same.mse as Tensor)))).toBeLessThan(1e-12);
  });

  describe('one step', () => {
    test.each(cases.filter(({ min_snr }) => !min_snr))('$id', async (example) => {
      const { reference, input, close, t, prediction } = parts(example);
      const schedule = scheduleOf(example);
      for (const clipDenoised of [true, false]) {
        using diffusion = new GaussianDiffusion(on.device, schedule, { prediction, clipDenoised });
        const found = diffusion.pMeanVariance(input('model_output'), input('x_t'), t);
        const suffix = clipDenoised ? 'clip' : 'noclip';
        await close(found.predXStart, `pred_xstart_${suffix}`);
        await close(found.mean, `mean_${suffix}`);
        await close(found.variance, 'variance');
        // At t = 0, where the variance is 0, its logarithm is that of 1e-20 there, and that of the next step here.
        const noisy = t.flatMap((step, n) => (step > 0 ? [n] : []));
        const picked = (from: Float32Array) => Float32Array.from(noisy, (n) => from[n] as number);
        const expected = { shape: [noisy.length], values: picked(reference('log_variance').values) };
        const logarithms = on.comparing(example.id, () => expected);
        await logarithms(picked(await values(found.logVariance)), 'log_variance');
      }
      // ε derived again from the clipped x_0: the step x' = ε.
      const rows = reverseTable(schedule, { prediction, variance: 'fixedSmall', kind: 'mean' });
      for (let row = 0; row < schedule.length; row++) rows.set([0, 0, 0, 0, 1, 0, 0], row * reverseColumns + 4);
      const table = on.device.tensor(Float32Array.from(rows), [schedule.length, reverseColumns]);
      const steps = on.device.tensor(Int32Array.from(t), [t.length]);
      const inputs = { output: input('model_output'), xt: input('x_t'), t: steps, table, clip: 1, noise: null, rng: noRng };
      await close(reverseStep(inputs).sample, 'pred_noise_rederived_clip', 5e-4);
    });
  });

  describe('DDIM over a few steps', () => {
    test.each(cases.filter(({ ddim }) => ddim))('$id', async (example) => {
      const { reference, prediction } = parts(example);
      const { eta, times } = example.ddim as { eta: number; times: number[] };
      const kept = times.toReversed();
      const { alphasCumprod } = scheduleOf(example);
      const at = (i: number) => (i < 0 ? 1 : (alphasCumprod[kept[i] as number] as number));
      const schedule = NoiseSchedule.fromBetas(kept.map((_, i) => 1 - at(i) / at(i - 1)));
      using diffusion = new GaussianDiffusion(on.device, schedule, { prediction });
      const predict = tinyModel(example.model);
      // [2, 8, …]: x_T and the seven results of each sample.
      const images = reference('ddim_images');
      const image = (k: number): GoldenTensor => {
        const size = images.values.length / 16;
        const both = [0, 8].map((first) => images.values.subarray((first + k) * size, (first + k + 1) * size));
        return { shape: [2, ...images.shape.slice(2)], values: Float32Array.from(both.flatMap((one) => [...one])) };
      };
      let x = upload(on.device, reference('ddim_x_T'));
      for (const [k, time] of times.entries()) {
        const output = await predict(x, on.device.tensor(Int32Array.of(time, time), [2]), {});
        const row = times.length - 1 - k;
        const noise = row > 0 ? upload(on.device, entryOf(reference('ddim_noises'), k)) : on.device.zeros(x.shape);
        x = diffusion.ddimSample(output, x, [row, row], { eta, noise }).sample;
        await on.comparing(example.id, () => image(k + 1))(x, `ddim_images[${k + 1}]`, 5e-4);
      }
    });
  });
});
