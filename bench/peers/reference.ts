// What the sides are checked against: a network with every weight drawn, as diffusers' folder and as an ONNX file, an input, and what
// this engine makes of it in float32 on the CPU: the prediction, the norm of each parameter's gradient of the mean squared prediction,
// and the end of a short DDIM from that input. Its tests hold this engine to PyTorch's numbers; here every side computes the same.
import { mkdtempSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  backward,
  type Device,
  GaussianDiffusion,
  NoiseSchedule,
  noGrad,
  openDevice,
  ops,
  Sampler,
  type Tensor,
  UNet,
} from 'diffusion-native';
import type { Network } from '../networks.js';
import { checkedEvaluations, floats, images, relative } from './checked.js';
import { imageShape, type Job, samplingOf } from './jobs.js';
import type { PeerOptions } from './peer.js';

const atSteps = Int32Array.from([37, 801]);

/** The process that a network belongs to. */
export function processOf(device: Device, { variance }: Network): GaussianDiffusion {
  return new GaussianDiffusion(device, NoiseSchedule.linear(), { variance });
}

/** A sampler by the options that all sides share. */
export function samplerOf(model: UNet, network: Network, job: string): Sampler {
  const { method, evaluations } = samplingOf(job as Job) as NonNullable<ReturnType<typeof samplingOf>>;
  const more = {
    ddim: { spacing: 'trailing', useClippedModelOutput: false },
    ddpm: { spacing: 'trailing' },
    'dpmSolver++': {},
  } as const;
  return new Sampler(processOf(model.device, network), model, { method, steps: evaluations, ...more[method] });
}

/** Writes the folder and returns its path. */
export async function makeReference(network: Network, threads: number): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'diffusion-bench-'));
  const device = await openDevice('cpu', { threads });
  try {
    const model = new UNet(device, { ...network.unet, dropout: 0, zeroInit: false });
    await model.save(folder);
    await model.exportOnnx(join(folder, 'unet.onnx'));
    const input = (await device.randn([images, ...imageShape(network)], { seed: 1 }).read()) as Float32Array;
    await writeFile(join(folder, 'input.f32'), input);
    await writeFile(join(folder, 'steps.i32'), atSteps);
    const { prediction, norms } = await gradients(model, folder);
    await writeFile(join(folder, 'prediction.f32'), prediction);
    await writeFile(join(folder, 'gradients.json'), JSON.stringify(norms));
    await writeFile(join(folder, 'samples.f32'), await samples(model, network, folder));
    return folder;
  } finally {
    await device.close();
  }
}

function inputOf(model: UNet, folder: string): [x: Tensor, t: Tensor] {
  const { device, inChannels } = model;
  const [height, width] = model.imageSize as readonly [number, number];
  return [device.tensor(floats(folder, 'input.f32'), [images, height, width, inChannels]), device.tensor(atSteps, [images])];
}

const predict = async (model: UNet, folder: string) =>
  (await noGrad(() => model.forward(...inputOf(model, folder))).read()) as Float32Array;

async function gradients(model: UNet, folder: string) {
  const prediction = model.forward(...inputOf(model, folder), { train: true });
  backward(ops.mseLoss(prediction, model.device.zeros(prediction.shape)));
  const norms: Record<string, number> = {};
  for (const [name, parameter] of model.parameters()) norms[name] = Math.sqrt(squares(await parameter.readGrad()));
  return { prediction: (await prediction.read()) as Float32Array, norms };
}

async function samples(model: UNet, network: Network, folder: string): Promise<Float32Array> {
  const [initial] = inputOf(model, folder);
  using sampler = samplerOf(model, network, `ddim-${checkedEvaluations}`);
  return (await (await sampler.sample({ count: images, initial })).read()) as Float32Array;
}

const squares = (values: Float32Array) => values.reduce((sum, value) => sum + value * value, 0);

/**
 * How far this engine is from the reference in another element type or on another device: the prediction and, for a step, the
 * gradients, for a sampling the samples.
 */
export async function checkOurs(device: Device, job: Job, { reference, dtype, network }: PeerOptions): Promise<number[]> {
  using model = await UNet.load(device, reference, { dtype });
  const expected = floats(reference, 'prediction.f32');
  if (job === 'step') {
    const { prediction, norms } = await gradients(model, reference);
    const given = JSON.parse(readFileSync(join(reference, 'gradients.json'), 'utf8')) as Record<string, number>;
    const names = Object.keys(given);
    const of = (from: Record<string, number>) => names.map((name) => from[name] as number);
    return [relative(prediction, expected), relative(of(norms), of(given))];
  }
  const errors = [relative(await predict(model, reference), expected)];
  if (job !== 'forward') errors.push(relative(await samples(model, network, reference), floats(reference, 'samples.f32')));
  return errors;
}
