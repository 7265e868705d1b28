#include "core/ops/linear.h"

#include "cpu/float_types.h"
#include "cpu/linear.h"
#include "cpu/ops.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

enum Slot { kTransposed = kFreeSlot, kCopies, kSums };

// Rows of one sample: with several, a 1×1 convolution is quicker; with one (vectors of a time embedding, where the rows
// are the batch) our own product is by far. Both give a sample the same bits in any batch.
int64_t rows_per_sample(const View& x) { return x.rank < 2 ? 1 : x.rows() / x.shape[0]; }

Convolution pointwise(const View& x, int64_t c, int64_t k, Precision precision) {
  const int64_t n = x.shape[0], l = rows_per_sample(x);
  return {n, l, 1, c, l, 1, k, 1, 1, c, 1, 0, 0, 0, 0, precision};
}

Precision precision_of(const View& x) { return x.dtype == DType::bf16 ? Precision::bf16 : Precision::f32; }

// y = sums + residual, in f32 and rounded once; the sums may be y itself.
template <class T>
void add_residual(const Stream& stream, const float* sums, const T* residual, int64_t size, T* y) {
  parallel_elements(stream, size, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) y[i] = convert<T>(sums[i] + widen(residual[i]));
  });
}

}  // namespace

void linear(Stream& stream, const Linear& op) {
  const int64_t c = op.weight.shape[0], k = op.weight.shape[1];
  const bool bf16 = op.x.dtype == DType::bf16;
  if (rows_per_sample(op.x) == 1) {
    if (bf16) return in_f32(stream, kCopies, op, [&](const Linear& wide) { linear(stream, wide); });
    matmul(stream,
           {op.x.rows(), c, k, op.x.f32(), c, 1, op.weight.f32(), k, op.y.f32(), k, op.bias.f32(), op.residual.f32()});
    return;
  }
  const bool apart = bf16 && op.residual;
  void* const y = apart ? stream.scratch.floats(kSums, static_cast<size_t>(op.y.size())) : op.y.data;
  stream.primitives->convolution(pointwise(op.x, c, k, apart ? Precision::bf16_to_f32 : precision_of(op.x)), op.x.data,
                                 {op.weight}, op.bias.f32(), false, y);
  if (op.residual)
    with_float(op.y.dtype, [&](auto type) {
      using T = decltype(type);
      add_residual(stream, static_cast<float*>(y), op.residual.as<T>(), op.y.size(), op.y.as<T>());
    });
}

void linear_backward_data(Stream& stream, const LinearBackwardData& op) {
  const int64_t c = op.weight.shape[0], k = op.weight.shape[1];
  if (rows_per_sample(op.dx) == 1) {
    if (op.dx.dtype == DType::bf16)
      return in_f32(stream, kCopies, op, [&](const LinearBackwardData& wide) { linear_backward_data(stream, wide); });
    float* const transposed = stream.scratch.floats(kTransposed, static_cast<size_t>(c * k));
    transpose(stream, op.weight.f32(), c, k, transposed);
    matmul(stream, {op.dy.rows(), k, c, op.dy.f32(), k, 1, transposed, c, op.dx.f32(), c});
    return;
  }
  stream.primitives->convolution_backward_data(pointwise(op.dx, c, k, precision_of(op.dx)), op.dy.data, {op.weight},
                                               op.dx.data);
}

void linear_backward_weights(Stream& stream, const LinearBackwardWeights& op) {
  const int64_t m = op.x.rows(), c = op.dweight.shape[0], k = op.dweight.shape[1];
  if (op.x.dtype == DType::bf16) {
    if (rows_per_sample(op.x) == 1)
      return in_f32(stream, kCopies, op,
                    [&](const LinearBackwardWeights& wide) { linear_backward_weights(stream, wide); });
    stream.primitives->convolution_backward_weights(pointwise(op.x, c, k, Precision::bf16_to_f32), op.x.data,
                                                    op.dy.data, op.dweight.f32(), op.dbias.f32(), op.accumulate);
    return;
  }
  weight_gradient(LinearBackwardWeights::name, m, c, k, op.x.f32(), op.dy.f32(), op.accumulate, op.dweight.f32());
  if (op.dbias) sum_rows(stream, op.dy.f32(), m, k, op.accumulate, op.dbias.f32());
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
