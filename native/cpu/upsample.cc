// Nearest-neighbour enlargement by 2 (core/ops/upsample.h), one pass, a row of the small image at a time.
#include "core/ops/upsample.h"

#include <cstring>

#include "cpu/ops.h"
#include "cpu/parallel.h"

namespace diffusion::cpu::DIFFUSION_ISA {

void upsample(Stream& stream, const Upsample& op) {
  const int64_t rows = op.x.shape[0] * op.x.shape[1], w = op.x.shape[2], c = op.x.shape[3];
  parallel_for(stream, rows, grain_of(4 * w * c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* x = op.x.f32() + row * w * c;
      float* y = op.y.f32() + row * 4 * w * c;  // y[n, 2h]
      for (int64_t i = 0; i < w; ++i) {
        std::memcpy(y + 2 * i * c, x + i * c, c * sizeof(float));
        std::memcpy(y + (2 * i + 1) * c, x + i * c, c * sizeof(float));
      }
      std::memcpy(y + 2 * w * c, y, 2 * w * c * sizeof(float));
    }
  });
}

void upsample_backward(Stream& stream, const UpsampleBackward& op) {
  const int64_t rows = op.dx.shape[0] * op.dx.shape[1], w = op.dx.shape[2], c = op.dx.shape[3];
  parallel_for(stream, rows, grain_of(4 * w * c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* above = op.dy.f32() + row * 4 * w * c;  // dy[n, 2h]
      const float* below = above + 2 * w * c;              // dy[n, 2h + 1]
      float* dx = op.dx.f32() + row * w * c;
      for (int64_t i = 0; i < w; ++i, above += 2 * c, below += 2 * c, dx += c)
#pragma omp simd
        for (int64_t k = 0; k < c; ++k) dx[k] = (above[k] + above[k + c]) + (below[k] + below[k + c]);
    }
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
