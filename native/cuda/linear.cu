// Affine map of the last axis: products of the matrices x [M, C], weight [C, K] and dy [M, K] (gemm.cuh).
//
//   y       = x · weight + bias + residual     rows M, columns K, depth C
//   dx      = dy · weightᵀ                     rows M, columns C, depth K
//   dweight = xᵀ · dy,  dbias = Σ_m dy         rows C, columns K, depth M, in parts (gemm_parts.cuh)
//
// Bytes: M·C + C·K + M·K elements once each when the caches hold what neighbouring tiles share.
#include "core/ops/linear.h"
#include "cuda/gemm_parts.cuh"
#include "cuda/ops.h"

namespace diffusion::cuda {

void linear(Stream& stream, const Linear& op) {
  const int64_t m = op.x.rows(), c = op.weight.shape[0], k = op.weight.shape[1];
  gemm(stream, Linear::name, matrix<true>(op.x.f32(), m, c), matrix<false>(op.weight.f32(), k, k),
       write_sum(op.y.f32(), k, op.bias.f32(), op.residual.f32()), m, k, c);
}

void linear_backward_data(Stream& stream, const LinearBackwardData& op) {
  const int64_t m = op.dy.rows(), c = op.weight.shape[0], k = op.weight.shape[1];
  gemm(stream, LinearBackwardData::name, matrix<true>(op.dy.f32(), m, k), matrix<true>(op.weight.f32(), c, k),
       write_sum(op.dx.f32(), c), m, c, k);
}

void linear_backward_weights(Stream& stream, const LinearBackwardWeights& op) {
  const int64_t m = op.x.rows(), c = op.dweight.shape[0], k = op.dweight.shape[1];
  weight_gradient(stream, LinearBackwardWeights::name, matrix<false>(op.x.f32(), c, c),
                  matrix<false>(op.dy.f32(), k, k), c, k, m, op.accumulate, op.dweight.f32());
  if (op.dbias) sum_rows(stream, LinearBackwardWeights::name, op.dy.f32(), m, k, op.accumulate, op.dbias.f32());
}

}  // namespace diffusion::cuda
