// What single affine maps and groups of them share.
#pragma once

#include <algorithm>

#include "core/error.h"
#include "cpu/matmul.h"
#include "cpu/runtime/primitives.h"

namespace diffusion::cpu::DIFFUSION_ISA {

// to [K, C] = from [C, K] transposed.
static inline void transpose(const Stream& stream, const float* from, int64_t c, int64_t k, float* to) {
  parallel_for(stream, (k + kStrip - 1) / kStrip, grain_of(c * kStrip), [=](int64_t begin, int64_t end) {
    for (int64_t first = begin * kStrip; first < std::min(end * kStrip, k); first += kStrip)
      transpose_strip(from + first, k, c, std::min(kStrip, k - first), to + first * c, c);
  });
}

// sum[k] (+)= Σ_m x[m, k], in blocks of rows so that long columns keep their precision.
static inline void sum_rows(const Stream& stream, const float* x, int64_t m, int64_t k, bool accumulate, float* sum) {
  constexpr int64_t kColumns = 32, kRows = 64;
  parallel_for(stream, (k + kColumns - 1) / kColumns, grain_of(m * kColumns), [=](int64_t begin, int64_t end) {
    for (int64_t k0 = begin * kColumns; k0 < std::min(end * kColumns, k); k0 += kColumns) {
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
  });
}

// dweight[c, k] (+)= Σ_m x[m, c] · dy[m, k]. It sums over the batch: nothing here is per sample, so the quickest matrix
// product will do.
static inline void weight_gradient(const char* operation, int64_t m, int64_t c, int64_t k, const float* x,
                                   const float* dy, bool accumulate, float* dweight) {
  if (!gemm('T', 'N', c, k, m, 1, x, c, dy, k, accumulate ? 1.0f : 0.0f, dweight, k))
    fail(code::out_of_memory, "%s: no memory for the matrix product", operation);
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
