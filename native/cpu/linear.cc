#include "core/ops/linear.h"

#include <algorithm>

#include "cpu/matmul.h"
#include "cpu/ops.h"
#include "cpu/runtime/primitives.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

// to [K, C] = from [C, K] transposed, in squares that stay in the first-level cache.
void transpose(const float* from, int64_t c, int64_t k, float* to) {
  constexpr int64_t kSquare = 32;
#pragma omp parallel for schedule(static) if (c * k >= 1 << 15)
  for (int64_t k0 = 0; k0 < k; k0 += kSquare)
    for (int64_t c0 = 0; c0 < c; c0 += kSquare) {
      const int64_t k1 = std::min(k0 + kSquare, k), c1 = std::min(c0 + kSquare, c);
      for (int64_t column = k0; column < k1; ++column)
        for (int64_t row = c0; row < c1; ++row) to[column * c + row] = from[row * k + column];
    }
}

// sum[k] (+)= Σ_m x[m, k], in blocks of rows so that long columns keep their precision.
void sum_rows(const float* x, int64_t m, int64_t k, bool accumulate, float* sum) {
  constexpr int64_t kColumns = 32, kRows = 64;
#pragma omp parallel for schedule(static) if (m * k >= 1 << 15)
  for (int64_t k0 = 0; k0 < k; k0 += kColumns) {
    const int64_t columns = std::min(kColumns, k - k0);
    float total[kColumns] = {};
    for (int64_t m0 = 0; m0 < m; m0 += kRows) {
      float part[kColumns] = {};
      for (int64_t row = m0; row < std::min(m0 + kRows, m); ++row)
        for (int64_t i = 0; i < columns; ++i) part[i] += x[row * k + k0 + i];
      for (int64_t i = 0; i < columns; ++i) total[i] += part[i];
    }
    for (int64_t i = 0; i < columns; ++i) sum[k0 + i] = accumulate ? sum[k0 + i] + total[i] : total[i];
  }
}

}  // namespace

void linear(Stream&, const Linear& op) {
  matmul({op.x.rows(), op.weight.shape[0], op.weight.shape[1], op.x.f32(), op.weight.f32(), op.bias.f32(),
          op.residual.f32(), op.y.f32()});
}

void linear_backward_data(Stream& stream, const LinearBackwardData& op) {
  const int64_t c = op.weight.shape[0], k = op.weight.shape[1];
  float* transposed = stream.scratch.floats(kFreeSlot, static_cast<size_t>(c * k));
  transpose(op.weight.f32(), c, k, transposed);
  matmul({op.dy.rows(), k, c, op.dy.f32(), transposed, nullptr, nullptr, op.dx.f32()});
}

// Sums over the batch: nothing here is per sample, so the quickest matrix product will do.
void linear_backward_weights(Stream&, const LinearBackwardWeights& op) {
  const int64_t m = op.x.rows(), c = op.dweight.shape[0], k = op.dweight.shape[1];
  const bool done =
      gemm('T', 'N', c, k, m, 1.0f, op.x.f32(), c, op.dy.f32(), k, op.accumulate ? 1.0f : 0.0f, op.dweight.f32(), k);
  if (!done) fail(code::out_of_memory, "linearBackwardWeights: no memory for the matrix product");
  if (op.dbias) sum_rows(op.dy.f32(), m, k, op.accumulate, op.dbias.f32());
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
