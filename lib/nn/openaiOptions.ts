import * as v from 'valibot';
import { OptionError } from '../errors.js';
import type { FloatType } from '../ops/check.js';
import { boolean, integer, number, oneOf, parseOptions, show } from '../options.js';

/**
 * The constructor arguments of `UNetModel` in openai/improved-diffusion and openai/guided-diffusion, under their names and with their
 * defaults; also those of its training scripts that say the same.
 */
export interface OpenAiOptions {
  /** Height and width, or [height, width]; needed where arguments are given as the scripts have them. */
  image_size?: number | readonly [height: number, width: number];
  /** 3 */
  in_channels?: number;
  /** Channels for a multiplier of 1. */
  model_channels?: number;
  /** The scripts' name of `model_channels`. */
  num_channels?: number;
  /** `in_channels`, or twice that with `learn_sigma`. */
  out_channels?: number;
  /** The scripts' way to say that the variance is learned; false. */
  learn_sigma?: boolean;
  /** Residual blocks a level on the way down. */
  num_res_blocks: number;
  /** Reductions of the size at which there is attention; as a string like '16,8' the sizes themselves, as in the scripts. */
  attention_resolutions: readonly number[] | string;
  /** 0 */
  dropout?: number;
  /** Channels of each level as multiples, [1, 2, 4, 8]; as a string like '1,2,2', or '' for the scripts' choice by `image_size`. */
  channel_mult?: readonly number[] | string;
  /** Whether sizes change by convolutions, or by average pooling and nearest neighbour alone; true. */
  conv_resample?: boolean;
  /** 2 */
  dims?: 2;
  /** Classes; null. */
  num_classes?: number | null;
  /** The scripts' way to say 1000 classes; false. */
  class_cond?: boolean;
  /** Gradient checkpointing; false. */
  use_checkpoint?: boolean;
  /** Attention heads; 1. */
  num_heads?: number;
  /** Channels of a head, instead of `num_heads`; −1: as `num_heads` says. */
  num_head_channels?: number;
  /** Attention heads on the way up; −1: as `num_heads` says. */
  num_heads_upsample?: number;
  /** Time as scale and shift of a normalisation; false. */
  use_scale_shift_norm?: boolean;
  /** Sizes change inside residual blocks; false. */
  resblock_updown?: boolean;
  /** Whether q, k and v are split before the heads; false. */
  use_new_attention_order?: boolean;
  /** Must be false: what is computed in is said by `dtype`. */
  use_fp16?: false;
  /** Element type of the arithmetic on images, as in `UNetOptions`; 'f32'. */
  dtype?: FloatType;
}

const numbers = 'an array of one or more positive numbers, or a string of such with commas between them';
const listOrText = v.union([v.pipe(v.array(v.pipe(v.number(), v.gtValue(0))), v.minLength(1)), v.string()], numbers);
const isSize = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 1;
const schema = v.strictObject({
  image_size: v.optional(
    v.custom<number | [number, number]>(
      (value) => isSize(value) || (Array.isArray(value) && value.length === 2 && value.every(isSize)),
      'a positive integer or [height, width]',
    ),
  ),
  in_channels: v.optional(integer(1), 3),
  model_channels: v.optional(integer(1)),
  num_channels: v.optional(integer(1)),
  out_channels: v.optional(integer(1)),
  learn_sigma: v.optional(boolean(), false),
  num_res_blocks: integer(1),
  attention_resolutions: v.union([v.array(integer(1)), v.string()], "an array of integers, or a string like '16,8'"),
  dropout: v.optional(v.pipe(number(0, 1), v.ltValue(1, 'a number of at least 0 and below 1')), 0),
  channel_mult: v.optional(listOrText, () => [1, 2, 4, 8]),
  conv_resample: v.optional(boolean(), true),
  dims: v.optional(v.literal(2, '2'), 2),
  num_classes: v.optional(v.nullable(integer(1)), null),
  class_cond: v.optional(boolean(), false),
  use_checkpoint: v.optional(boolean(), false),
  num_heads: v.optional(integer(1), 1),
  num_head_channels: v.optional(integer(-1), -1),
  num_heads_upsample: v.optional(integer(-1), -1),
  use_scale_shift_norm: v.optional(boolean(), false),
  resblock_updown: v.optional(boolean(), false),
  use_new_attention_order: v.optional(boolean(), false),
  use_fp16: v.optional(v.literal(false, "false: what is computed in is said by option 'dtype'"), false),
  dtype: v.optional(oneOf('f32', 'bf16'), 'f32'),
});

/** Arguments with the defaults filled in, and as the constructor has them. */
export type CheckedOpenAiOptions = v.InferOutput<typeof schema> & {
  model_channels: number;
  out_channels: number;
  /** Channels of each level as multiples. */
  multipliers: readonly number[];
  /** Reductions of the size at which there is attention. */
  reductions: readonly number[];
};

/** OpenAI's networks in the scripts have as many classes. */
const scriptClasses = 1000;

/** The scripts' multipliers by the size of the images. */
const scriptMultipliers: Record<number, readonly number[]> = {
  32: [1, 2, 2, 2],
  64: [1, 2, 3, 4],
  128: [1, 1, 2, 3, 4],
  256: [1, 1, 2, 2, 4, 4],
  512: [0.5, 1, 1, 2, 2, 4, 4],
};

/** Throws OptionError naming the argument. */
export function checkOpenAiOptions(owner: string, options: OpenAiOptions): CheckedOpenAiOptions {
  const given = parseOptions(owner, schema, options);
  const fail = (option: string, expected: string, got: unknown): never => {
    throw new OptionError(`${owner}: option '${option}' must be ${expected}, got ${show(got)}`);
  };
  const { model_channels, num_channels, in_channels, learn_sigma, out_channels, image_size, channel_mult } = given;
  if (model_channels !== undefined && num_channels !== undefined)
    fail('num_channels', 'left out where model_channels is given', num_channels);
  const learned = 2 * in_channels;
  if (learn_sigma && out_channels !== undefined && out_channels !== learned)
    fail('out_channels', `${learned} with learn_sigma`, out_channels);
  const size = Array.isArray(image_size) ? image_size[0] : image_size;
  const sizes = listOf(given.attention_resolutions);
  if (typeof given.attention_resolutions === 'string' && (!size || sizes.some((one) => !isSize(one))))
    fail('attention_resolutions', "reductions, or sizes like '16,8' beside image_size", given.attention_resolutions);
  const multipliers = channel_mult === '' ? scriptMultipliers[size ?? 0] : listOf(channel_mult);
  if (multipliers === undefined)
    return fail('channel_mult', `given where image_size is not one of ${Object.keys(scriptMultipliers)}`, channel_mult);
  if (multipliers.some((one) => !(one > 0))) fail('channel_mult', numbers, channel_mult);
  return {
    ...given,
    model_channels: model_channels ?? num_channels ?? fail('model_channels', 'given', undefined),
    out_channels: out_channels ?? (learn_sigma ? learned : in_channels),
    num_classes: given.num_classes ?? (given.class_cond ? scriptClasses : null),
    multipliers,
    reductions: typeof given.attention_resolutions === 'string' ? sizes.map((one) => Math.floor((size as number) / one)) : sizes,
  };
}

function listOf(given: readonly number[] | string): readonly number[] {
  return typeof given === 'string' ? given.split(',').map((one) => (one.trim() === '' ? Number.NaN : Number(one))) : given;
}
