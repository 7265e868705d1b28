// onnxruntime-node's side of a whole network, driven over standard input: "forward 3" and "ddim-50 1" answer with the seconds of one
// run, "memory" with the peak resident bytes, "check ddim-50" with the relative errors of prediction and samples. The loop around the
// network is what one writes in JavaScript: arrays are made once, coefficients are computed before, one pass over the image a step.
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { checkedEvaluations, floats, images, integers, relative } from './checked.js';
import { imageShape, type Job, samplingOf, steps, timesteps } from './jobs.js';
import { peakResidentBytes } from './memory.js';
import { findRuntime } from './onnxRuntime.js';
import type { PeerOptions } from './peer.js';

type Runtime = typeof import('onnxruntime-node');

/** ᾱ after each step of the schedule. */
function alphaBars(): Float64Array {
  let product = 1;
  return Float64Array.from({ length: steps }, (_, t) => {
    product *= 1 - (1e-4 + ((0.02 - 1e-4) * t) / (steps - 1));
    return product;
  });
}

/** Standard normal numbers (Box and Muller 1958). */
function normal(values: Float32Array): void {
  for (let i = 0; i < values.length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
    const angle = 2 * Math.PI * Math.random();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < values.length) values[i + 1] = radius * Math.sin(angle);
  }
}

/** Between NHWC and NCHW: [n, a, b] → [n, b, a]. */
function swapped(values: Float32Array, n: number, a: number, b: number): Float32Array {
  const result = new Float32Array(values.length);
  for (let s = 0; s < n; s++)
    for (let i = 0; i < a; i++) for (let j = 0; j < b; j++) result[(s * b + j) * a + i] = values[(s * a + i) * b + j] as number;
  return result;
}

/** A network in onnxruntime for batches of one size. */
class Network {
  readonly #runtime: Runtime;
  readonly #session: InferenceSession;
  readonly #steps: BigInt64Array;
  readonly #feeds: { sample: Tensor; timestep: Tensor };
  /** x, [N, C, H, W], which `predict` reads. */
  readonly x: Float32Array;

  constructor(runtime: Runtime, session: InferenceSession, shape: readonly [n: number, c: number, h: number, w: number]) {
    this.#runtime = runtime;
    this.#session = session;
    this.x = new Float32Array(shape.reduce((a, b) => a * b));
    this.#steps = new BigInt64Array(shape[0]);
    const { Tensor } = this.#runtime;
    this.#feeds = {
      sample: new Tensor('float32', this.x, shape),
      timestep: new Tensor('int64', this.#steps, [shape[0]]),
    };
  }

  async predict(t: number | readonly number[]): Promise<Float32Array> {
    for (let i = 0; i < this.#steps.length; i++) this.#steps[i] = BigInt(typeof t === 'number' ? t : (t[i] as number));
    const { out_sample } = await this.#session.run(this.#feeds);
    return out_sample?.data as Float32Array;
  }

  /** x_T → x_0 in place (Song et al. 2021, equation 12, without noise; x_0 is clipped at each step). */
  async ddim(evaluations: number): Promise<void> {
    const { x } = this;
    const bars = alphaBars();
    const list = timesteps(evaluations);
    for (const [k, t] of list.entries()) {
      const bar = bars[t] as number;
      const next = bars[list[k + 1] ?? -1] ?? 1;
      const [signal, noise] = [1 / Math.sqrt(bar), Math.sqrt(1 / bar - 1)];
      const [ahead, direction] = [Math.sqrt(next), Math.sqrt(1 - next)];
      const epsilon = await this.predict(t);
      for (let i = 0; i < x.length; i++) {
        const e = epsilon[i] as number;
        const start = signal * (x[i] as number) - noise * e;
        const clipped = start < -1 ? -1 : start > 1 ? 1 : start;
        x[i] = ahead * clipped + direction * e;
      }
    }
  }
}

async function main(): Promise<void> {
  const options = JSON.parse(process.argv[2] as string) as PeerOptions;
  const { batch, threads, network, reference } = options;
  const runtime = require(findRuntime() as string) as Runtime;
  const [height, width, channels] = imageShape(network);
  const make = async (n: number) => {
    const session = await runtime.InferenceSession.create(join(reference, 'unet.onnx'), {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: 'all',
      // Known sizes let it plan memory and fold shapes.
      freeDimensionOverrides: { batch: n, height, width },
    });
    return new Network(runtime, session, [n, channels, height, width]);
  };
  let made: Network | undefined;

  /** NHWC as the reference has it. */
  const fromNhwc = (values: Float32Array) => swapped(values, images, height * width, channels);
  const toNhwc = (values: Float32Array) => swapped(values, images, channels, height * width);
  const check = async (job: Job) => {
    const model = await make(images);
    const input = fromNhwc(floats(reference, 'input.f32'));
    model.x.set(input);
    const at = [...integers(reference, 'steps.i32')];
    const errors = [relative(toNhwc(await model.predict(at)), floats(reference, 'prediction.f32'))];
    if (job === 'forward') return errors;
    await model.ddim(checkedEvaluations);
    return [...errors, relative(toNhwc(model.x), floats(reference, 'samples.f32'))];
  };
  const run = async (job: Job, count: number) => {
    made ??= await make(batch);
    const sampling = samplingOf(job);
    const start = performance.now();
    for (let i = 0; i < count; i++)
      if (sampling) {
        normal(made.x);
        await made.ddim(sampling.evaluations);
      } else await made.predict(500);
    return (performance.now() - start) / 1000 / count;
  };

  console.log(`onnxruntime-node ${runtime.env.versions.node ?? runtime.env.versions.common}, f32`);
  for await (const line of createInterface({ input: process.stdin })) {
    const [what = '', argument = ''] = line.split(' ');
    if (what === 'memory') console.log(peakResidentBytes());
    else if (what === 'check') console.log((await check(argument as Job)).join(' '));
    else console.log(await run(what as Job, Number(argument)));
  }
}

void main();
