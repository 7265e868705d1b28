#include "core/ops/linear.h"

#include "cpu/linear.h"
#include "cpu/ops.h"
#include "cpu/runtime/primitives.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

// Rows of one sample: with several, a 1×1 convolution is quicker; with one (vectors of a time embedding, where the rows
// are the batch) our own product is by far. Both give a sample the same bits in any batch.
int64_t rows_per_sample(const View& x) { return x.rank < 2 ? 1 : x.rows() / x.shape[0]; }

Convolution pointwise(const View& x, int64_t c, int64_t k) {
  const int64_t n = x.shape[0], l = rows_per_sample(x);
  return {n, l, 1, c, l, 1, k, 1, 1, c, 1, 0, 0, 0, 0};
}

}  // namespace

void linear(Stream& stream, const Linear& op) {
  const int64_t c = op.weight.shape[0], k = op.weight.shape[1];
  if (rows_per_sample(op.x) == 1) {
    matmul(stream,
           {op.x.rows(), c, k, op.x.f32(), c, 1, op.weight.f32(), k, op.y.f32(), k, op.bias.f32(), op.residual.f32()});
    return;
  }
  stream.primitives->convolution(pointwise(op.x, c, k), op.x.f32(), op.weight.f32(), op.bias.f32(), false, op.y.f32());
  if (op.residual) {
    const float* const residual = op.residual.f32();
    float* const y = op.y.f32();
    parallel_elements(stream, op.y.size(), [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) y[i] += residual[i];
    });
  }
}

void linear_backward_data(Stream& stream, const LinearBackwardData& op) {
  const int64_t c = op.weight.shape[0], k = op.weight.shape[1];
  if (rows_per_sample(op.dx) == 1) {
    float* const transposed = stream.scratch.floats(kFreeSlot, static_cast<size_t>(c * k));
    transpose(stream, op.weight.f32(), c, k, transposed);
    matmul(stream, {op.dy.rows(), k, c, op.dy.f32(), k, 1, transposed, c, op.dx.f32(), c});
    return;
  }
  stream.primitives->convolution_backward_data(pointwise(op.dx, c, k), op.dy.f32(), op.weight.f32(), op.dx.f32());
}

// Sums over the batch: nothing here is per sample, so the quickest matrix product will do.
void linear_backward_weights(Stream& stream, const LinearBackwardWeights& op) {
  const int64_t m = op.x.rows(), c = op.dweight.shape[0], k = op.dweight.shape[1];
  if (!gemm('T', 'N', c, k, m, 1, op.x.f32(), c, op.dy.f32(), k, op.accumulate ? 1.0f : 0.0f, op.dweight.f32(), k))
    fail(code::out_of_memory, "linearBackwardWeights: no memory for the matrix product");
  if (op.dbias) sum_rows(stream, op.dy.f32(), m, k, op.accumulate, op.dbias.f32());
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
