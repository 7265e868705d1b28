import * as v from 'valibot';
import type { FloatType } from '../ops/check.js';
import { boolean, integer, string } from '../options.js';
import type { Seed } from '../random.js';
import type { OpenAiOptions } from './openaiOptions.js';
import type { ModelLabels } from './unetInputs.js';
import type { UNetOptions } from './unetOptions.js';

/** Options of `UNet.forward`. */
export interface UNetForwardOptions {
  /** One label a sample, −1 for no class; needed exactly when the network has classes. */
  labels?: ModelLabels | null;
  /** Whether dropout acts and gradients are recorded; false. */
  train?: boolean;
  /** Seed of the dropout; left out: the device's own stream. */
  seed?: Seed;
}

/** Options of `UNet.load`. */
export interface UNetLoadOptions {
  /** Element type of the arithmetic on images, as in `UNetOptions`; 'f32'. */
  dtype?: FloatType;
  /** Which of several weight files: 'fp16' takes `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string;
  /** As in `UNetOptions`; false. */
  gradientCheckpointing?: boolean;
  /**
   * The configuration in diffusers' words, in the place of config.json; for a file of OpenAI's code the arguments of its `UNetModel`, as
   * for `UNet.loadOpenAI`.
   */
  config?: Readonly<Record<string, unknown>> | Readonly<OpenAiOptions>;
}

/** Options of `UNet.fromDiffusers`, as in `UNetOptions`. */
export type UNetFromDiffusersOptions = Pick<UNetOptions, 'seed' | 'dtype' | 'zeroInit' | 'gradientCheckpointing'>;

const isObject = (value: unknown) => value !== null && typeof value === 'object' && !Array.isArray(value);

/** Of `UNet.forward`. */
export const forwardSchema = v.strictObject({
  labels: v.optional(v.unknown()),
  train: v.optional(boolean(), false),
  seed: v.optional(v.unknown()),
});
const computing = { dtype: v.optional(v.unknown(), 'f32'), gradientCheckpointing: v.optional(boolean(), false) };
/** Of `UNet.load`. */
export const loadSchema = v.strictObject({
  ...computing,
  variant: v.optional(string()),
  config: v.optional(v.custom<Readonly<Record<string, unknown>>>(isObject, "an object in the words of diffusers' config.json")),
});
/** Of `UNet.fromDiffusers`. */
export const fromSchema = v.strictObject({
  ...computing,
  seed: v.optional(integer(0), 0),
  zeroInit: v.optional(boolean(), true),
});
