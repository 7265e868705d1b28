import { AdamW, type Device, GaussianDiffusion, NoiseSchedule, ops, Parameter, type Tensor } from 'diffusion-native';
import { parametersOf, type Spec } from './kernelSpecs.js';
import type { DTypeName } from './result.js';

/** No random numbers: state, seed, stream, step, first sample. */
const noRng = [0, 0, 0, 0, 0] as const;

/** An operation with operands of its own, which hold random values. */
export interface Prepared {
  /** Enqueues it once: one native call, or the public one where that is fused too. */
  run: () => void;
  dispose: () => void;
}

/** Makes the operands of a spec. */
export function prepare(device: Device, spec: Spec, dtype: DTypeName): Prepared {
  const owned: { dispose(): void }[] = [];
  const own = <T extends { dispose(): void }>(one: T): T => {
    owned.push(one);
    return one;
  };
  return { run: prepareRun(device, spec, dtype, own), dispose: () => owned.reverse().forEach((one) => void one.dispose()) };
}

type Own = <T extends { dispose(): void }>(one: T) => T;

function prepareRun(device: Device, spec: Spec, dtype: DTypeName, own: Own): () => void {
  const { native } = device;
  const random = (...shape: number[]): Tensor => {
    const values = own(device.randn(shape, { seed: shape.length }));
    return dtype === 'f32' ? values : own(ops.cast(values, dtype));
  };
  const f32 = (...shape: number[]) => own(device.randn(shape, { seed: 1 }));
  const out = (...shape: number[]) => own(device.empty(shape, dtype));

  switch (spec.kind) {
    case 'conv': {
      const { n, size, cin, cout, filter, stride, upsample, pass } = spec;
      const pad = filter >> 1;
      const side = upsample ? 2 * size : Math.floor((size + 2 * pad - filter) / stride) + 1;
      const window = [stride, pad, pad, pad, pad, upsample] as const;
      const image = [n, size, size, cin] as const;
      const result = [n, side, side, cout] as const;
      if (pass === 'forward') {
        const [x, weight, bias, y] = [random(...image), random(filter, filter, cin, cout), f32(cout), out(...result)];
        return () => native.conv2d(x.handle, 0, weight.handle, bias.handle, 0, 0, y.handle, 0, ...window);
      }
      const dy = random(...result);
      if (pass === 'data') {
        const [weight, dx] = [random(filter, filter, cin, cout), out(...image)];
        return () => native.conv2dBackwardData(dy.handle, weight.handle, dx.handle, 0, ...window);
      }
      const [x, dweight, dbias] = [random(...image), f32(filter, filter, cin, cout), f32(cout)];
      return () => native.conv2dBackwardWeights(x.handle, 0, dy.handle, dweight.handle, dbias.handle, ...window, false);
    }
    case 'attention': {
      const { n, tokens, channels, heads, pass } = spec;
      const tensor = () => random(n, tokens, channels).handle;
      const qkv = [tensor(), tensor(), tensor()] as const;
      const [y, lse] = [out(n, tokens, channels).handle, f32(n, heads, tokens).handle];
      const how = [heads, 1 / Math.sqrt(channels / heads)] as const;
      native.attention(...qkv, y, lse, ...how);
      if (pass === 'forward') return () => native.attention(...qkv, y, lse, ...how);
      const [dy, dq, dk, dv] = [tensor(), tensor(), tensor(), tensor()];
      return () => native.attentionBackward(dy, ...qkv, y, lse, dq, dk, dv, ...how);
    }
    case 'groupNorm': {
      const { n, pixels, channels, groups, silu, pass } = spec;
      const image = () => random(n, pixels, channels).handle;
      const [x, y] = [image(), image()];
      const [gamma, beta, stats] = [f32(channels).handle, f32(channels).handle, f32(n, groups, 2).handle];
      const forward = () => native.groupNorm(x, 0, gamma, beta, 0, 0, 0, y, stats, groups, 1e-5, silu, 0, ...noRng);
      forward();
      if (pass === 'forward') return forward;
      const [dy, dgamma, dbeta] = [image(), f32(channels).handle, f32(channels).handle];
      const operands = [dy, x, 0, gamma, beta, 0, stats, y, 0, dgamma, dbeta, 0] as const;
      return () => native.groupNormBackward(...operands, groups, silu, 0, ...noRng, false);
    }
    case 'noising':
    case 'reverseStep': {
      const { n, size } = spec;
      const shape = [n, size, size, 3];
      const diffusion = own(new GaussianDiffusion(device, NoiseSchedule.linear()));
      const t = own(
        device.tensor(
          Int32Array.from({ length: n }, (_, i) => (i * 37) % 1000),
          [n],
        ),
      );
      if (spec.kind === 'noising') {
        const pixels = Uint8Array.from({ length: n * size * size * 3 }, (_, i) => (i * 31) & 255);
        const images = own(device.tensor(pixels, shape));
        return () => device.scope(() => void diffusion.qSample(images, t, { seed: 1, flip: true }));
      }
      const [x, epsilon] = [f32(...shape), f32(...shape)];
      return () => device.scope(() => void diffusion.pSample(epsilon, x, t, { seed: 1 }));
    }
    case 'optimizer': {
      const count = parametersOf(spec.shapes);
      const all = new Parameter('all', [count], 'plain', f32(count), f32(count));
      all.grad.write(new Float32Array(count).map((_, i) => ((i * 31) % 1000) / 1e6));
      const settings = { learningRate: 1e-4, gradientClip: 1, emaDecay: 0.9999 };
      const optimizer = own(new AdamW(new Map([['all', all]]), settings));
      if (dtype === 'bf16') all.as('bf16'); // a copy that the optimiser keeps up to date
      optimizer.prepare();
      return () => optimizer.enqueue();
    }
    case 'gemm': {
      const [x, weight, y] = [random(spec.n, spec.n), random(spec.n, spec.n), out(spec.n, spec.n)];
      return () => native.linear(x.handle, weight.handle, 0, 0, y.handle);
    }
    case 'update': {
      const x = random(spec.n);
      return () => native.scale(x.handle, x.handle, 1, 0);
    }
    case 'copy': {
      const [x, y] = [random(spec.n), out(spec.n)];
      return () => native.scale(x.handle, y.handle, 1, 0);
    }
  }
}
