import * as v from 'valibot';
import { Parameter } from '../autograd/parameter.js';
import type { Device } from '../device.js';
import { DeviceMismatchError, OptionError } from '../errors.js';
import { checkNames } from '../ops/options.js';
import { boolean, number, parseOptions, positive, show } from '../options.js';

/** Options of `AdamW`. */
export interface AdamWOptions {
  /** Step size, unless a step gives its own; 1e-3. */
  learningRate?: number;
  /** Decay rates of the moments; [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Added to the root of the second moment; 1e-8. */
  eps?: number;
  /** Decoupled weight decay, on all parameters; 0. */
  weightDecay?: number;
  /** Largest L2 norm of the gradient of all parameters together; longer ones are scaled down. Left out or 0: no limit. */
  gradientClip?: number;
  /** Decay of the moving average of the weights; left out: no average is kept. */
  emaDecay?: number;
  /** The decay of update n (0 the first) is min(emaDecay, (1 + n)/(10 + n)); false. */
  emaWarmup?: boolean;
}

const decay = () => {
  const text = 'a number of at least 0 and below 1';
  return v.pipe(v.number(text), v.minValue(0, text), v.ltValue(1, text));
};
const schema = v.strictObject({
  learningRate: v.optional(number(0), 1e-3),
  betas: v.optional(v.tuple([decay(), decay()], 'two numbers of at least 0 and below 1'), [0.9, 0.999]),
  eps: v.optional(positive(), 1e-8),
  weightDecay: v.optional(number(0), 0),
  gradientClip: v.optional(number(0), 0),
  emaDecay: v.optional(number(0, 1)),
  emaWarmup: v.optional(boolean(), false),
});
/** Options with the defaults filled in. */
export type CheckedAdamWOptions = v.InferOutput<typeof schema>;

/** Throws OptionError. */
export function checkAdamWOptions(options: unknown): CheckedAdamWOptions {
  return parseOptions('new AdamW', schema, options);
}

/** The learning rate of a step, if it has its own. Throws OptionError. Without a schema: it runs at every step. */
export function stepLearningRate(options: { learningRate?: number } = {}): number | undefined {
  checkNames('AdamW.step', options, ['learningRate']);
  const { learningRate } = options;
  if (learningRate !== undefined && !(Number.isFinite(learningRate) && learningRate >= 0))
    throw new OptionError(`AdamW.step: option 'learningRate' must be a finite number of at least 0, got ${show(learningRate)}`);
  return learningRate;
}

/** Throws OptionError unless these are parameters, DeviceMismatchError unless all are on one device. */
export function checkParameters(parameters: unknown): ReadonlyMap<string, Parameter> {
  const owner = 'new AdamW';
  if (!(parameters instanceof Map) || parameters.size === 0)
    throw new OptionError(`${owner}: parameters must be a Map of at least one Parameter, got ${show(parameters)}`);
  let device: Device | undefined;
  for (const [name, parameter] of parameters) {
    if (!(parameter instanceof Parameter))
      throw new OptionError(`${owner}: '${name}' must be a Parameter, got ${show(parameter)}`);
    device ??= parameter.device;
    if (parameter.device !== device) throw new DeviceMismatchError(`${owner}: '${name}' is on another device than the rest`);
  }
  return parameters as Map<string, Parameter>;
}
