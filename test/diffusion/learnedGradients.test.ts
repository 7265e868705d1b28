import { beforeAll, expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { add, mean } from '../../lib/ops/index.js';
import { eachDevice } from '../support/devices.js';
import { randomValues } from '../support/values.js';

const schedule = NoiseSchedule.cosine({ timesteps: 30 });
const shape = [3, 3, 1, 2];
const t = [0, 11, 29];

/** Central differences along random directions; the mean is detached in hybrid objectives, whose bound is left to its variance. */
eachDevice((id, open) => {
  let device: Device;
  beforeAll(async () => {
    device = await open();
  });

  test.each([
    ['kl', 'learnedRange', 'epsilon'],
    ['rescaledKl', 'learned', 'v'],
    ['kl', 'learnedRange', 'previous'],
    ['rescaledMse', 'learnedRange', 'sample'],
    ['l1', 'learned', 'epsilon'],
    ['huber', 'learnedRange', 'v'],
  ] as const)(`%s, %s, %s on ${id}`, async (loss, variance, prediction) => {
    using diffusion = new GaussianDiffusion(device, schedule, { loss, variance, prediction });
    const x0 = device.tensor(
      randomValues(18, 1).map((value) => Math.round(Math.tanh(value) * 127.5) / 127.5),
      shape,
    );
    const noise = device.tensor(randomValues(18, 2), shape);
    const values = randomValues(36, 3);
    const doubled = [3, 3, 1, 4];
    const evaluate = (output: Float32Array) => {
      const parameter = new Parameter('output', doubled, 'plain', device.tensor(output, doubled), device.zeros(doubled));
      const losses = diffusion.trainingLosses(() => add(parameter, device.zeros(doubled)), x0, t, { noise });
      return { parameter, losses };
    };
    const { parameter, losses } = evaluate(values);
    backward(mean(losses.loss));
    const gradient = (await parameter.grad.read()) as Float32Array;
    const hybrid = loss === 'rescaledMse' || loss === 'l1' || loss === 'huber';
    // Of a hybrid objective the bound's part moves with the mean as well, but not its gradient: only variance channels move here.
    const direction = randomValues(36, 4).map((value, i) => (hybrid && i % 4 < 2 ? 0 : value));
    const along = gradient.reduce((sum, value, i) => sum + value * (direction[i] as number), 0);
    const step = 2 ** -8;
    const at = async (sign: number) => {
      const moved = (await evaluate(
        values.map((value, i) => value + sign * step * (direction[i] as number)),
      ).losses.loss.read()) as Float32Array;
      return moved.reduce((sum, value) => sum + value, 0) / 3;
    };
    const difference = ((await at(1)) - (await at(-1))) / (2 * step);
    expect(Math.abs(along / difference - 1)).toBeLessThan(5e-3);
  });
});
