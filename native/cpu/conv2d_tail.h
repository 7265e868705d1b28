// What follows the sums of a convolution: shift, residual, rounding, and the sums for a normalisation.
#pragma once

#include <algorithm>

#include "core/ops/conv2d.h"
#include "cpu/float_types.h"

namespace diffusion::cpu::DIFFUSION_ISA {

// y[n, p, k] += residual[n, p, k] + shift[n, k], either may be absent. A pass of its own over y, which the caches still
// hold: a post-operation makes oneDNN's convolution 4 to 8 % slower, this costs 2 %.
inline void add_to_pixels(const Stream& stream, const float* shift, const float* residual, int64_t n, int64_t pixels,
                          int64_t k, float* y) {
  parallel_for(stream, n * pixels, grain_of(k), [=](int64_t begin, int64_t end) {
    for (int64_t pixel = begin; pixel < end; ++pixel) {
      float* const to = y + pixel * k;
      if (residual)
        for (int64_t i = 0; i < k; ++i) to[i] += residual[pixel * k + i];
      if (shift)
        for (int64_t i = 0; i < k; ++i) to[i] += shift[pixel / pixels * k + i];
    }
  });
}

// y = x + residual + shift over a tile of pixels and channels, and its sums where these are wanted.
struct Tile {
  int64_t pixels, channels, pitch;  // pitch: channels of a pixel

  template <bool kSummed, class T, class Residual>
  void finish(const float* x, const Residual* residual, const float* shift, T* y, float* sums) const {
    constexpr int64_t kMost = kChannels;
    float added[kMost] = {}, sum[kMost] = {}, squares[kMost] = {};
    if (shift) std::copy(shift, shift + channels, added);
    for (int64_t pixel = 0; pixel < pixels; ++pixel, x += pitch, y += pitch) {
#pragma omp simd
      for (int64_t i = 0; i < channels; ++i) {
        const float base = residual ? x[i] + widen(residual[i]) : x[i];
        const float value = base + added[i];
        if constexpr (kSummed) {
          sum[i] += value;
          squares[i] += value * value;
        }
        y[i] = convert<T>(value);
      }
      if (residual) residual += pitch;
    }
    if constexpr (kSummed)
      for (int64_t i = 0; i < channels; ++i) {
        sums[2 * i] = sum[i];
        sums[2 * i + 1] = squares[i];
      }
  }

  static constexpr int64_t kChannels = 64;
};

// y of the operation from the sums x [N, OH·OW, K], bias included; x may be y itself. Operands bf16.
template <class T>
void finish_sums(const Stream& stream, const Conv2d& op, int64_t pixels, const float* x) {
  const int64_t n = op.y.shape[0], k = op.y.channels(), pieces = (pixels + kSumPixels - 1) / kSumPixels;
  parallel_for(stream, n * pieces, grain_of(kSumPixels * k), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t sample = item / pieces, pixel = item % pieces * kSumPixels;
      for (int64_t first = 0; first < k; first += Tile::kChannels) {
        const Tile tile{std::min(kSumPixels, pixels - pixel), std::min(Tile::kChannels, k - first), k};
        const int64_t at = (sample * pixels + pixel) * k + first;
        const Bf16* const residual = op.residual ? op.residual.as<Bf16>() + at : nullptr;
        const float* const shift = op.shift ? op.shift.f32() + sample * k + first : nullptr;
        if (op.sums)
          tile.finish<true>(x + at, residual, shift, op.y.as<T>() + at, op.sums.f32() + (item * k + first) * 2);
        else
          tile.finish<false>(x + at, residual, shift, op.y.as<T>() + at, static_cast<float*>(nullptr));
      }
    }
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
