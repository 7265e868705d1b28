import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { UNet } from '../../lib/nn/unet.js';
import { relL2 } from './compare.js';

/** What a network is given: images in NCHW with their shape, steps, and labels where it takes them. */
export interface Given {
  x: Float32Array;
  shape: readonly [n: number, c: number, h: number, w: number];
  t: ArrayLike<number>;
  labels?: ArrayLike<number> | Float32Array | null;
}

const integers = (values: ArrayLike<number>) =>
  new Tensor('int64', BigInt64Array.from(Array.from(values), BigInt), [values.length]);

/** What onnxruntime makes of a file: out_sample, NCHW. */
export async function predictByOnnx(path: string, { x, shape, t, labels }: Given): Promise<Float32Array> {
  const session = await InferenceSession.create(path, { logSeverityLevel: 3 });
  try {
    const feeds: Record<string, Tensor> = { sample: new Tensor('float32', x, [...shape]), timestep: integers(t) };
    if (labels instanceof Float32Array) feeds.class_labels = new Tensor('float32', labels, [shape[0], labels.length / shape[0]]);
    else if (labels) feeds.class_labels = integers(labels);
    if (session.inputNames.join() !== Object.keys(feeds).join()) throw new Error(`inputs are ${session.inputNames}`);
    if (session.outputNames.join() !== 'out_sample') throw new Error(`outputs are ${session.outputNames}`);
    const { data } = (await session.run(feeds)).out_sample as Tensor;
    return data as Float32Array;
  } finally {
    await session.release();
  }
}

/** What the network makes of the same: NCHW. */
export async function predictByUs(model: UNet, { x, shape, t, labels }: Given): Promise<Float32Array> {
  const { device } = model;
  const steps = Int32Array.from(Array.from(t));
  const given =
    labels instanceof Float32Array
      ? device.tensor(labels, [shape[0], labels.length / shape[0]])
      : labels && Int32Array.from(Array.from(labels));
  const output = model.forward(device.tensor(x, [...shape], { layout: 'nchw' }), steps, given ? { labels: given } : {});
  return (await output.read({ layout: 'nchw' })) as Float32Array;
}

/** How far onnxruntime's prediction from a file is from the network's own. */
export async function onnxDistance(path: string, model: UNet, given: Given): Promise<number> {
  return relL2(await predictByOnnx(path, given), await predictByUs(model, given));
}
