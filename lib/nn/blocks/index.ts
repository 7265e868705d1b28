/**
 * Parts of a UNet, made of the operations in `ops`, for networks of one's own. Weights are parameters or tensors in the engine's
 * layouts: convolutions [R, S, C, K], linear maps [C, K].
 * @module
 */
export { type AttentionBlockOptions, type AttentionWeights, attention } from './attention.js';
export { type DownOptions, down } from './down.js';
export { type ResidualOptions, type ResidualWeights, residual } from './residual.js';
export { type TimeEmbeddingOptions, type TimeEmbeddingWeights, timeEmbedding } from './timeEmbedding.js';
export { up } from './up.js';
export type { Affine } from './weights.js';
