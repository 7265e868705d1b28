// What follows the sums of a convolution: shift, residual, rounding, and the sums for a normalisation.
#pragma once

#include <algorithm>

#include "core/ops/conv2d.h"
#include "cpu/conv2d_phases.h"
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

// Where the sums of a sample's pixel lie, and where its result goes, in pixels.
struct PlainOrder {
  int64_t pixels;
  int64_t sum(int64_t sample, int64_t pixel) const { return sample * pixels + pixel; }
  int64_t result(int64_t sample, int64_t pixel) const { return sample * pixels + pixel; }
};

// Sums [4, N, H, W] by phases, results [N, 2H, 2W]; pixels count through the phases.
struct PhaseOrder {
  int64_t pixels, n, h, w;
  int64_t sum(int64_t sample, int64_t pixel) const {
    const int64_t area = h * w;
    return (pixel / area * n + sample) * area + pixel % area;
  }
  int64_t result(int64_t sample, int64_t pixel) const {
    const Phase phase(pixel / (h * w));
    const int64_t at = pixel % (h * w);
    return sample * pixels + (2 * (at / w) + phase.row) * 2 * w + 2 * (at % w) + phase.column;
  }
};

// y = x + residual + shift over some pixels of a sample and some channels, and its sums where these are wanted.
template <class Order>
struct Tile {
  const Order& order;
  int64_t sample, first, pixels, channels, pitch;  // pitch: channels of a pixel

  template <bool kSummed, class T>
  void finish(const float* x, const T* residual, const float* shift, T* y, float* sums) const {
    float added[kChannels] = {}, sum[kChannels] = {}, squares[kChannels] = {};
    if (shift) std::copy(shift, shift + channels, added);
    for (int64_t pixel = first; pixel < first + pixels; ++pixel) {
      const float* const from = x + order.sum(sample, pixel) * pitch;
      const int64_t at = order.result(sample, pixel) * pitch;
      const T* const base = residual ? residual + at : nullptr;
      T* const to = y + at;
#pragma omp simd
      for (int64_t i = 0; i < channels; ++i) {
        const float value = (base ? from[i] + widen(base[i]) : from[i]) + added[i];
        if constexpr (kSummed) {
          sum[i] += value;
          squares[i] += value * value;
        }
        to[i] = convert<T>(value);
      }
    }
    if constexpr (kSummed)
      for (int64_t i = 0; i < channels; ++i) {
        sums[2 * i] = sum[i];
        sums[2 * i + 1] = squares[i];
      }
  }

  static constexpr int64_t kChannels = 64;
};

// y of the operation from the sums x of its N·OH·OW pixels, bias included; in plain order x may be y itself.
template <class T, class Order>
void finish_sums(const Stream& stream, const Conv2d& op, const Order& order, const float* x) {
  const int64_t n = op.y.shape[0], k = op.y.channels(), pieces = (order.pixels + kSumPixels - 1) / kSumPixels;
  parallel_for(stream, n * pieces, grain_of(kSumPixels * k), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t sample = item / pieces, pixel = item % pieces * kSumPixels;
      const int64_t pixels = std::min(kSumPixels, order.pixels - pixel);
      for (int64_t first = 0; first < k; first += Tile<Order>::kChannels) {
        const Tile<Order> tile{order, sample, pixel, pixels, std::min(Tile<Order>::kChannels, k - first), k};
        const T* const residual = op.residual ? op.residual.as<T>() + first : nullptr;
        const float* const shift = op.shift ? op.shift.f32() + sample * k + first : nullptr;
        T* const y = op.y.as<T>() + first;
        if (op.sums)
          tile.template finish<true>(x + first, residual, shift, y, op.sums.f32() + (item * k + first) * 2);
        else
          tile.template finish<false>(x + first, residual, shift, y, static_cast<float*>(nullptr));
      }
    }
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
