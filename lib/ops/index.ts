/**
 * Operations on tensors and parameters, each with its gradient where it has one. They enqueue and return at once; what is taped is
 * decided by the operands (see `noGrad`).
 *
 * All check their arguments at once and throw ShapeError, DTypeError, OptionError, DisposedError or DeviceMismatchError naming the
 * operation and the argument, or OutOfMemoryError; an operation that fails when it runs makes `read` of its result reject.
 * @module
 */
export { type GeluOptions, gelu, relu, sigmoid, tanh } from './activation.js';
export { type AttentionOptions, attention } from './attention.js';
export { type ReduceOptions, sum } from './axes.js';
export { type Padding, type PadOptions, pad, slice, split } from './boxes.js';
export { add, mul, sub } from './broadcast.js';
export type { TensorLike } from './check.js';
export { type Conv2dOptions, conv2d } from './conv2d.js';
export { type ConvTranspose2dOptions, convTranspose2d } from './convTranspose2d.js';
export { dropout, scale, silu } from './elementwise.js';
export { type EmbeddingOptions, embedding, type TimestepEmbeddingOptions, timestepEmbedding } from './embedding.js';
export { type GroupNormOptions, groupNorm } from './groupNorm.js';
export { type LayerNormOptions, layerNorm } from './layerNorm.js';
export { cast, concat, permute, reshape, transpose } from './layout.js';
export { type LinearOptions, linear } from './linear.js';
export { type AvgPoolOptions, avgPool2d, maxPool2d, type PoolOptions } from './pooling.js';
export { mean, mseLoss, mseLossPerSample } from './reduce.js';
export { softmax } from './softmax.js';
export { downsample, upsample } from './upsample.js';
