import { AdamW, type DeviceInfo, GaussianDiffusion, NoiseSchedule, noGrad, UNet } from 'diffusion-native';
import { TrainingStep } from '#lib/training/step.js';
import { type Call, dryDevice } from './dryDevice.js';
import type { Network } from './networks.js';
import type { DTypeName } from './result.js';

/** What a network does, without doing it. */
export interface NetworkCalls {
  /** Of one prediction, and of the reverse step behind it. */
  forward: Call[];
  /** Of one training step, from noising to optimiser. */
  step: Call[];
  /** Of every parameter, in PyTorch's layout. */
  parameters: (readonly number[])[];
}

/** The native calls of a network on the device that `info` describes. */
export function callsOf(info: DeviceInfo, network: Network, dtype: DTypeName, batch: number): NetworkCalls {
  const calls: Call[] = [];
  const device = dryDevice(info, calls);
  const model = new UNet(device, { ...network.unet, dtype });
  const diffusion = new GaussianDiffusion(device, NoiseSchedule.linear(), { variance: network.variance });
  const [height, width] = model.imageSize as readonly [number, number];
  const imageShape = [height, width, model.inChannels] as const;
  const x = device.empty([batch, ...imageShape], 'f32');
  const t = device.empty([batch], 'i32');
  calls.length = 0;
  noGrad(() => diffusion.pSample(model.forward(x, t), x, t, { seed: 1 }));
  const forward = calls.splice(0);

  const optimizer = new AdamW(model.parameters(), { emaDecay: 0.9999, gradientClip: 1 });
  const how = { labelled: false, batchSize: batch, microBatch: batch, flip: true, labelDropout: 0, seed: 1 };
  const step = new TrainingStep({ model, diffusion, optimizer, timesteps: null, imageShape, ...how });
  calls.length = 0;
  // Its result never arrives; the calls are made at once.
  void step.run(0, { images: new Uint8Array(batch * height * width * model.inChannels), labels: null }, 1e-4);
  return { forward, step: calls.splice(0), parameters: [...model.parameters().values()].map(({ shape }) => shape) };
}
