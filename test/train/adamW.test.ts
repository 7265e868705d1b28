import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Parameter } from '../../lib/autograd/parameter.js';
import { type Device, DisposedError, OptionError, openDevice } from '../../lib/index.js';
import { ParameterStore } from '../../lib/nn/parameters.js';
import { AdamW, type AdamWOptions } from '../../lib/training/adamW.js';
import { maxAbs } from '../support/compare.js';

const shapes = { weight: [5, 3], kernel: [3, 2, 3, 1], bias: [7] };
type Name = keyof typeof shapes;
const names = Object.keys(shapes) as Name[];
const sizeOf = (name: Name) => shapes[name].reduce((a, b) => a * b, 1);

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.close());

function makeStore(): ParameterStore {
  return ParameterStore.build(device, 3, (declare) => {
    declare('weight', shapes.weight, 'linear', 'normal');
    declare('kernel', shapes.kernel, 'conv', 'normal');
    declare('bias', shapes.bias, 'plain', 'normal');
  }).store;
}

/** Gradients as a function of the step, some of them missing. */
function gradients(step: number): Record<Name, Float32Array | null> {
  const wave = (name: Name, size: number) =>
    Float32Array.from({ length: size }, (_, i) => 3 * Math.sin(i + 1.7 * step + name.length) * (step === 2 ? 1e-3 : 1));
  return {
    weight: wave('weight', sizeOf('weight')),
    kernel: wave('kernel', sizeOf('kernel')),
    bias: step === 1 ? null : wave('bias', sizeOf('bias')),
  };
}

function addGradients(parameters: ReadonlyMap<string, Parameter>, step: number): void {
  for (const [name, values] of Object.entries(gradients(step))) {
    const parameter = parameters.get(name) as Parameter;
    if (values) parameter.accumulate(device.tensor(values, parameter.value.shape));
  }
}

/** AdamW as in PyTorch, in float64, with clipping and the average. */
class Reference {
  readonly m = new Map<Name, number[]>();
  readonly v = new Map<Name, number[]>();
  readonly ema = new Map<Name, number[]>();
  norm = 0;

  constructor(readonly values: Map<Name, number[]>) {
    for (const [name, value] of values) {
      this.m.set(
        name,
        value.map(() => 0),
      );
      this.v.set(
        name,
        value.map(() => 0),
      );
      this.ema.set(name, [...value]);
    }
  }

  step(
    n: number,
    lr: number,
    { betas = [0.9, 0.999], weightDecay = 0, gradientClip = 0, emaDecay = 0, emaWarmup }: AdamWOptions,
  ) {
    const given = gradients(n);
    this.norm = Math.hypot(...names.flatMap((name) => Array.from(given[name] ?? [])));
    const factor = gradientClip ? Math.min(1, gradientClip / (this.norm + 1e-6)) : 1;
    const decay = emaWarmup ? Math.min(emaDecay, (1 + n) / (10 + n)) : emaDecay;
    for (const [name, value] of this.values) {
      const [m, v, ema] = [this.m.get(name), this.v.get(name), this.ema.get(name)] as [number[], number[], number[]];
      value.forEach((_, i) => {
        const g = (given[name]?.[i] ?? 0) * factor;
        m[i] = betas[0] * (m[i] as number) + (1 - betas[0]) * g;
        v[i] = betas[1] * (v[i] as number) + (1 - betas[1]) * g * g;
        const mean = (m[i] as number) / (1 - betas[0] ** (n + 1));
        const root = Math.sqrt((v[i] as number) / (1 - betas[1] ** (n + 1)));
        value[i] = (value[i] as number) * (1 - lr * weightDecay) - (lr * mean) / (root + 1e-8);
        ema[i] = decay * (ema[i] as number) + (1 - decay) * (value[i] as number);
      });
    }
  }
}

const settings: Record<string, AdamWOptions> = {
  plain: {},
  everything: { weightDecay: 0.1, gradientClip: 1, emaDecay: 0.9, emaWarmup: true },
  'other betas': { betas: [0.5, 0.9], emaDecay: 0.5 },
};

// The moments are read in the engine's layout here: gradients were given in it, and the update goes element by element.
describe.each(Object.entries(settings))('AdamW, %s', (_, options) => {
  test('ten steps are those of a float64 reference', async () => {
    using optimizer = new AdamW(makeStore().parameters, { ...options, learningRate: 0.5 });
    const engine = async (name: Name) => (await (optimizer.parameters.get(name) as Parameter).value.read()) as Float32Array;
    const initial = new Map<Name, number[]>();
    for (const name of names) initial.set(name, Array.from(await engine(name)));
    const reference = new Reference(initial);
    for (let n = 0; n < 10; n++) {
      const lr = 0.01 * (n + 1);
      optimizer.zeroGrad();
      addGradients(optimizer.parameters, n);
      optimizer.step({ learningRate: lr });
      reference.step(n, lr, options);
      // Sums of squares in float64, rounded to f32 once: 6e-8 relative.
      expect(Math.abs((await optimizer.gradientNorm.read())[0] as number) / reference.norm).toBeCloseTo(1, 6);
    }
    // Values are of order 1: ten steps of a few roundings (6e-8) each, and betas rounded to f32 (1 - β₂ is off by 1.3e-5 relative,
    // which the correction takes back but for the weights among gradients of different steps).
    for (const name of names) expect(maxAbs(await engine(name), reference.values.get(name) as number[])).toBeLessThan(5e-6);
    if (options.emaDecay) {
      const plain = await optimizer.ema('bias');
      expect(maxAbs(plain, reference.ema.get('bias') as number[])).toBeLessThan(5e-6);
    }
  });
});

test('parameters of one store take one norm and one update; a subset leaves the others alone', async () => {
  const store = makeStore();
  using all = new AdamW(store.parameters, { learningRate: 0.1 });
  addGradients(all.parameters, 0);
  const launches = (['gradientNorm', 'adamW', 'fill'] as const).map((name) => vi.spyOn(device.native, name));
  all.step();
  expect(launches.map((launch) => launch.mock.calls.length)).toEqual([1, 1, 0]);
  for (const launch of launches) launch.mockRestore();

  const before = await (store.parameters.get('kernel') as Parameter).read();
  const some = new Map([...store.parameters].filter(([name]) => name !== 'kernel'));
  using two = new AdamW(some, { learningRate: 0.1 });
  two.step();
  expect(await (store.parameters.get('kernel') as Parameter).read()).toEqual(before);
  const given = gradients(0);
  const squares = [...(given.weight ?? []), ...(given.bias ?? [])].reduce((sum, g) => sum + g * g, 0);
  expect((await two.gradientNorm.read())[0]).toBeCloseTo(Math.sqrt(squares), 4);
});

test('the average is in the layout of PyTorch', async () => {
  const store = makeStore();
  using optimizer = new AdamW(store.parameters, { emaDecay: 0.9 });
  for (const [name, parameter] of store.parameters) expect(await optimizer.ema(name)).toEqual(await parameter.read());
});

test('a gradient that is not finite changes nothing', async () => {
  const store = makeStore();
  using optimizer = new AdamW(store.parameters, { emaDecay: 0.9, weightDecay: 0.1, gradientClip: 1 });
  const bias = store.parameters.get('bias') as Parameter;
  const before = await store.flatValues.read();
  addGradients(store.parameters, 0);
  bias.accumulate(device.tensor([0, 0, Number.NaN, 0, 0, 0, 0], [7]));
  optimizer.step();
  expect((await optimizer.gradientNorm.read())[0]).toBeNaN();
  expect(await store.flatValues.read()).toEqual(before);
  expect(await optimizer.ema('bias')).toEqual(await bias.read());
});

test('a recording takes prepare() before each run', async () => {
  const [one, two] = [makeStore(), makeStore()];
  using stepping = new AdamW(one.parameters, { learningRate: 0.1 });
  using recorded = new AdamW(two.parameters, { learningRate: 0.1 });
  addGradients(one.parameters, 0);
  addGradients(two.parameters, 0);
  recorded.prepare();
  using program = device.record(() => recorded.enqueue());
  for (let n = 0; n < 3; n++) stepping.step();
  for (let n = 1; n < 3; n++) {
    recorded.prepare();
    program.run();
  }
  expect(await two.flatValues.read()).toEqual(await one.flatValues.read());
  expect(() => device.record(() => recorded.step())).toThrow(OptionError);
});

test('wrong arguments are refused at once', async () => {
  const { parameters } = makeStore();
  const make = (options: object) => () => new AdamW(parameters, options);
  expect(make({ learningrate: 1 })).toThrow("unknown option 'learningrate'");
  expect(make({ learningRate: -1 })).toThrow(OptionError);
  expect(make({ betas: [0.9, 1] })).toThrow("option 'betas.1' must be a number of at least 0 and below 1, got 1");
  expect(make({ eps: 0 })).toThrow(OptionError);
  expect(make({ emaDecay: 1.5 })).toThrow(OptionError);
  expect(() => new AdamW(new Map())).toThrow('parameters must be a Map of at least one Parameter');
  expect(() => new AdamW(new Map([['a', 1 as never]]))).toThrow("'a' must be a Parameter, got 1");
  const optimizer = new AdamW(parameters);
  await expect(optimizer.ema('bias')).rejects.toThrow("no average is kept; give option 'emaDecay'");
  await expect(optimizer.ema('biass')).rejects.toThrow("there is no parameter 'biass'");
  expect(() => optimizer.step({ learningRate: Number.NaN })).toThrow(OptionError);
  optimizer.dispose();
  optimizer.dispose();
  expect(() => optimizer.step()).toThrow(DisposedError);
});
