// Where a training step spends its time: each of its operations timed by a profile of the device.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GaussianDiffusion, ImageDataset, NoiseSchedule, openDevice, Trainer, UNet } from 'diffusion-native';
import { imageShape } from '../peers/jobs.js';
import { nameOf } from '../peers/measure.js';
import type { Case } from '../peers/sides.js';
import type { Breakdown } from '../result.js';
import { kindsOf } from '../stepKinds.js';
import type { Found, SuiteContext } from '../suite.js';
import { readTrace } from '../trace.js';
import { trainCases } from './train.js';

/** The training steps of the suite 'train', apart from its measurements: a profile costs time. */
export async function* breakdowns(context: SuiteContext): AsyncGenerator<Found> {
  const cases = trainCases(context).filter(({ job }) => job === 'step');
  for (const [done, one] of cases.entries()) {
    context.signal.throwIfAborted();
    context.progress(done, cases.length, `${nameOf(one)}, ${one.dtype}, batch ${one.batch}`);
    yield { breakdown: await breakDown(one, context) };
  }
  context.progress(cases.length, cases.length, '');
}

/** Steps whose time is taken, and before them those that record and settle. */
const taken = { quick: 3, full: 10 };
const before = 3;

async function breakDown(one: Case, { device: id, threads, quick, ceilings, signal }: SuiteContext): Promise<Breakdown> {
  const { network, batch, dtype } = one;
  const folder = await mkdtemp(join(tmpdir(), 'diffusion-bench-'));
  try {
    const profile = join(folder, 'trace.json');
    const device = await openDevice(id, { threads, profile });
    const steps = quick ? taken.quick : taken.full;
    try {
      const shape = imageShape(network);
      const size = shape.reduce((product, axis) => product * axis, batch);
      const data = ImageDataset.tensor(
        Uint8Array.from({ length: size }, (_, i) => (i * 31) & 255),
        [batch, ...shape],
      );
      const model = new UNet(device, { ...network.unet, dtype });
      const diffusion = new GaussianDiffusion(device, NoiseSchedule.linear(), { variance: network.variance });
      const trainer = new Trainer({ model, diffusion, data, batchSize: batch });
      for await (const _ of trainer.run({ steps: before + steps, signal }));
      signal.throwIfAborted();
    } finally {
      await device.close();
    }
    return { name: nameOf(one), dtype, batch, kinds: kindsOf(await readTrace(profile), steps, ceilings) };
  } finally {
    await rm(folder, { recursive: true });
  }
}
