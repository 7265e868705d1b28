import { OptionError } from '../../errors.js';
import type { TensorLike } from '../../ops/check.js';
import { show } from '../../options.js';

/** The weight and bias of a convolution, a linear map or a normalisation (gamma and beta), in the engine's layouts. */
export interface Affine {
  /** f32: conv [R, S, C, K], linear [C, K], gamma [C]. */
  weight: TensorLike;
  /** f32, [K]; beta [C]. */
  bias: TensorLike;
}

/** Throws OptionError unless every named pair is there; which names may be missing is said by `optional`. */
export function checkWeights(
  block: string,
  weights: object,
  required: readonly string[],
  optional: readonly string[] = [],
): void {
  const given = weights as Record<string, unknown>;
  if (weights === null || typeof weights !== 'object')
    throw new OptionError(`${block}: weights must be an object, got ${show(weights)}`);
  for (const name of [...required, ...optional]) {
    const pair = given[name] as Partial<Affine> | null | undefined;
    if (pair == null && optional.includes(name)) continue;
    if (pair == null || typeof pair !== 'object' || pair.weight == null || pair.bias == null)
      throw new OptionError(`${block}: weights.${name} must be { weight, bias }, got ${show(pair)}`);
  }
  const unknown = Object.keys(given).find((name) => !required.includes(name) && !optional.includes(name));
  if (unknown !== undefined)
    throw new OptionError(`${block}: unknown weights '${unknown}'; known are ${[...required, ...optional].join(', ')}`);
}
