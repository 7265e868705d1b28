// Affine map of the last axis: products of the matrices x [M, C], weight [C, K] and dy [M, K] (gemm.cuh).
//
//   y       = x · weight + bias + residual     rows M, columns K, depth C
//   dx      = dy · weightᵀ                     rows M, columns C, depth K
//   dweight = xᵀ · dy,  dbias = Σ_m dy         rows C, columns K, depth M, in parts (gemm_parts.cuh)
//
// In bf16, on tensor cores: a 1 × 1 convolution of M images of one pixel (conv2d_mma*.cu).
//
// Bytes: M·C + C·K + M·K elements once each when the caches hold what neighbouring tiles share.
#include "core/ops/linear.h"
#include "cuda/conv2d.cuh"
#include "cuda/gemm_parts.cuh"
#include "cuda/ops.h"

namespace diffusion::cuda {
namespace {

// [..., C] as M images of one pixel, [C, K] as a filter of one tap; absent stays absent.
template <class Operand>
Operand as_images(Operand view) {
  const int64_t channels = view ? view.channels() : 1, rows = view ? view.rows() : 0;
  view.rank = 4;
  view.shape[0] = rows, view.shape[1] = 1, view.shape[2] = 1, view.shape[3] = channels;
  return view;
}

template <class Operand>
Operand as_filter(Operand view) {
  const int64_t c = view.shape[0], k = view.shape[1];
  view.rank = 4;
  view.shape[0] = 1, view.shape[1] = 1, view.shape[2] = c, view.shape[3] = k;
  return view;
}

}  // namespace

void linear(Stream& stream, const Linear& op) {
  if (op.x.dtype == DType::bf16)
    return conv2d_bf16(stream, {as_images(op.x),
                                {},
                                as_filter(op.weight),
                                op.bias,
                                {},
                                as_images(op.residual),
                                as_images(op.y),
                                {},
                                1,
                                0,
                                0,
                                0,
                                0,
                                false});
  const int64_t m = op.x.rows(), c = op.weight.shape[0], k = op.weight.shape[1];
  gemm(stream, Linear::name, matrix<true>(op.x.f32(), m, c), matrix<false>(op.weight.f32(), k, k),
       write_sum(op.y.f32(), k, op.bias.f32(), op.residual.f32()), m, k, c);
}

void linear_backward_data(Stream& stream, const LinearBackwardData& op) {
  if (op.dy.dtype == DType::bf16)
    return conv2d_backward_data_bf16(
        stream, {as_images(op.dy), as_filter(op.weight), as_images(op.dx), {}, 1, 0, 0, 0, 0, false});
  const int64_t m = op.dy.rows(), c = op.weight.shape[0], k = op.weight.shape[1];
  gemm(stream, LinearBackwardData::name, matrix<true>(op.dy.f32(), m, k), matrix<true>(op.weight.f32(), c, k),
       write_sum(op.dx.f32(), c), m, c, k);
}

void linear_backward_weights(Stream& stream, const LinearBackwardWeights& op) {
  if (op.x.dtype == DType::bf16)
    return conv2d_backward_weights_bf16(
        stream,
        {as_images(op.x), {}, as_images(op.dy), as_filter(op.dweight), op.dbias, 1, 0, 0, 0, 0, false, op.accumulate});
  const int64_t m = op.x.rows(), c = op.dweight.shape[0], k = op.dweight.shape[1];
  weight_gradient(stream, LinearBackwardWeights::name, matrix<false>(op.x.f32(), c, c),
                  matrix<false>(op.dy.f32(), k, k), c, k, m, op.accumulate, op.dweight.f32());
  if (op.dbias) sum_rows(stream, LinearBackwardWeights::name, op.dy.f32(), m, k, op.accumulate, op.dbias.f32());
}

}  // namespace diffusion::cuda
