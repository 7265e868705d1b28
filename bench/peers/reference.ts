// What the sides of the UNet benchmark are checked against: a network with every weight drawn, as diffusers' folder and as an ONNX
// file, an input, and what this engine makes of it in float32: the prediction, and the norm of each parameter's gradient of the
// mean squared prediction. Its tests hold this engine to PyTorch's numbers; here every side computes the same network.
import { mkdtempSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { backward, type Device, openDevice, ops, UNet } from 'diffusion-native';
import type { PeerOptions } from './peer.js';

export const images = 2;
const steps = Int32Array.from([37, 801]);

export function unetOptions({ network }: Pick<PeerOptions, 'network'>) {
  const { size, base, mults, blocks, attention, groups, dropout } = network;
  const attentionResolutions = [attention];
  return { imageSize: size, baseChannels: base, channelMults: mults, resBlocks: blocks, attentionResolutions, groups, dropout };
}

/** Writes the folder and returns its path. */
export async function makeReference(network: PeerOptions['network']): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'diffusion-bench-'));
  const device = await openDevice('cpu');
  const model = new UNet(device, { ...unetOptions({ network }), dropout: 0, zeroInit: false });
  await model.save(folder);
  await model.exportOnnx(join(folder, 'unet.onnx'));
  const input = (await device.randn([images, network.size, network.size, 3], { seed: 1 }).read()) as Float32Array;
  await writeFile(join(folder, 'input.f32'), input);
  await writeFile(join(folder, 'steps.i32'), steps);
  const { prediction, norms } = await evaluate(device, model, folder);
  await writeFile(join(folder, 'prediction.f32'), prediction);
  await writeFile(join(folder, 'gradients.json'), JSON.stringify(norms));
  await device.close();
  return folder;
}

async function evaluate(device: Device, model: UNet, folder: string) {
  const [height, width] = model.imageSize as readonly [number, number];
  const x = device.tensor(floats(folder, 'input.f32'), [images, height, width, 3]);
  const t = device.tensor(steps, [images]);
  const prediction = model.forward(x, t, { train: true });
  backward(ops.mseLoss(prediction, device.zeros(prediction.shape)));
  const norms: Record<string, number> = {};
  for (const [name, parameter] of model.parameters()) norms[name] = await norm(parameter.readGrad());
  return { prediction: (await prediction.read()) as Float32Array, norms };
}

async function norm(values: Promise<Float32Array>): Promise<number> {
  let squares = 0;
  for (const value of await values) squares += value * value;
  return Math.sqrt(squares);
}

export function floats(folder: string, name: string): Float32Array {
  const bytes = readFileSync(join(folder, name));
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

/** ‖a − b‖ / ‖b‖ */
export function relative(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0;
  let size = 0;
  for (let i = 0; i < b.length; i++) {
    difference += ((a[i] as number) - (b[i] as number)) ** 2;
    size += (b[i] as number) ** 2;
  }
  return Math.sqrt(difference / size);
}

/** How far this engine is from the reference in another element type or on another device: prediction and gradients. */
export async function checkOurs(device: Device, { reference, dtype }: PeerOptions): Promise<[number, number]> {
  const model = await UNet.load(device, reference, { dtype });
  const { prediction, norms } = await evaluate(device, model, reference);
  const expected = JSON.parse(readFileSync(join(reference, 'gradients.json'), 'utf8')) as Record<string, number>;
  const names = Object.keys(expected);
  const of = (from: Record<string, number>) => names.map((name) => from[name] as number);
  return [relative(prediction, floats(reference, 'prediction.f32')), relative(of(norms), of(expected))];
}
