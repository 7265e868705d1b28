import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import type { Device } from '../../lib/device.js';
import { openAiNetwork } from '../../lib/nn/openaiConfig.js';
import { openAiTensors } from '../../lib/nn/openaiKeys.js';
import type { OpenAiOptions } from '../../lib/nn/openaiOptions.js';
import { UNet } from '../../lib/nn/unet.js';
import type { FloatType } from '../../lib/ops/check.js';
import { mseLoss } from '../../lib/ops/reduce.js';
import { permute, sizeOf } from '../../lib/tensor.js';
import { hashNumbers } from '../../lib/verification/hashValues.js';
import { type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';

/** A tensor that the weight generator of the reference data makes. */
export interface HashedTensor {
  name: string;
  shape: number[];
  kind: string;
  scale: number;
}

/** A network's case of the reference data: case.json and io.safetensors. */
export interface UNetCase {
  name: string;
  id: string;
  seed: number;
  /** Arguments of the original class: diffusers' or OpenAI's. */
  kwargs: object;
  labels: number[] | null;
  gradient_storage: { full_if_numel_le: number | null; stride: number | null };
  float32_vs_float64_noise: { zero_gradient_tensors: string[] };
  params: (HashedTensor & { grad: { l2: number } })[];
  tensors: Map<string, GoldenTensor>;
}

/** `folder` may be a path into the shared data. */
export async function loadCase(folder: string): Promise<UNetCase> {
  const description = loadGoldenJson<Omit<UNetCase, 'tensors' | 'name'>>(join(folder, 'case.json'));
  return { ...description, name: folder, tensors: await loadGolden(join(folder, 'io.safetensors')) };
}

export function golden(one: UNetCase, name: string): GoldenTensor {
  const tensor = one.tensors.get(name);
  if (!tensor) throw new Error(`${one.name} has no tensor ${name}`);
  return tensor;
}

/** What one forward and backward pass gives, everything in PyTorch's layouts. */
export interface Pass {
  out: Float32Array;
  loss: number;
  gradX: Float32Array;
  gradients: Map<string, Float32Array>;
}

/** Loss = mean((out − target)²), backward with the images as a parameter too. */
export async function runCase(device: Device, model: UNet, one: UNetCase): Promise<Pass> {
  const x = golden(one, 'x');
  const nhwc = permute(x.shape, [0, 2, 3, 1]);
  const value = device.tensor(x.values, x.shape, { layout: 'nchw' });
  const images = new Parameter('x', nhwc, 'plain', value, device.zeros(nhwc));
  const target = golden(one, 'target');
  const wanted = device.tensor(target.values, target.shape, { layout: 'nchw' });
  const y = model.forward(images, golden(one, 't').values, { train: true, labels: one.labels });
  const out = (await y.read({ layout: 'nchw' })) as Float32Array;
  const loss = mseLoss(y, wanted);
  const [lossValue] = await loss.read();
  backward(loss);
  const gradients = new Map<string, Float32Array>();
  for (const [name, parameter] of model.parameters()) gradients.set(name, await parameter.readGrad());
  const gradX = (await images.grad.read({ layout: 'nchw' })) as Float32Array;
  for (const tensor of [value, images.grad, wanted, y, loss]) tensor.dispose();
  return { out, loss: lossValue as number, gradX, gradients };
}

/** A network of the reference data, and what it calls tensors that are like the parameters. */
export interface ReferenceModel {
  model: UNet;
  named: (values: ReadonlyMap<string, Float32Array>) => Map<string, Float32Array>;
}

/** Whether a case is one of OpenAI's classes. */
export const isOpenAi = ({ id }: { id: string }): boolean => id.startsWith('o');

/** The network of a case: read from its folder where that holds it, else with the weights of the generator. */
export async function referenceModel(
  device: Device,
  folder: string,
  one: UNetCase,
  dtype: FloatType = 'f32',
): Promise<ReferenceModel> {
  if (isOpenAi(one)) return openAiModel(device, one, dtype);
  const stored = ['unet', '.'].some((part) =>
    ['', '.fp16'].some((variant) => existsSync(join(folder, part, `diffusion_pytorch_model${variant}.safetensors`))),
  );
  const model = stored ? await UNet.load(device, folder, { dtype }) : UNet.fromDiffusers(device, one.kwargs, { dtype });
  if (!stored) for (const [name, values] of hashAll(one)) model.parameters().get(name)?.write(values);
  return { model, named: (values) => new Map(values) };
}

function openAiModel(device: Device, one: UNetCase, dtype: FloatType): ReferenceModel {
  const options = one.kwargs as OpenAiOptions;
  const model = UNet.fromDiffusers(device, openAiNetwork('reference', options).config, { dtype });
  const tensors = openAiTensors(options);
  const weights = hashAll(one);
  for (const [name, parameter] of model.parameters()) {
    const { from, take } = tensors.get(name) as OpenAiPlace;
    parameter.write(take(weights.get(from) as Float32Array));
  }
  const named = (values: ReadonlyMap<string, Float32Array>) => {
    const named = new Map(one.params.map(({ name, shape }) => [name, new Float32Array(sizeOf(shape)).fill(Number.NaN)]));
    for (const [name, own] of values) {
      const { from, put } = tensors.get(name) as OpenAiPlace;
      put(own, named.get(from) as Float32Array);
    }
    return named;
  };
  return { model, named };
}

type OpenAiPlace = NonNullable<ReturnType<ReturnType<typeof openAiTensors>['get']>>;

/** All weights of a case. */
export function hashAll(one: UNetCase): Map<string, Float32Array> {
  return new Map(one.params.map((parameter) => [parameter.name, hashWeights(one.seed, parameter)]));
}

/** The weights of a tensor of the reference data. */
export function hashWeights(seed: number, { name, shape, kind, scale }: HashedTensor): Float32Array {
  return hashNumbers(name, seed, sizeOf(shape), kind === 'norm_weight' ? 'normalisation' : scale);
}
