// The geometry of a convolution as kernels see it, and the walk through filter taps that its three products share.
#pragma once

#include "core/ops/conv2d.h"
#include "cuda/gemm.cuh"

namespace diffusion::cuda {

// On tensor cores: conv2d_mma*.cu.
void conv2d_bf16(Stream& stream, const Conv2d& op);
void conv2d_backward_data_bf16(Stream& stream, const Conv2dBackwardData& op);
void conv2d_backward_weights_bf16(Stream& stream, const Conv2dBackwardWeights& op);

struct ConvGeometry {
  int h, w, c1, c2, oh, ow, k, r, s;  // h, w: as the filter sees them, after enlarging
  int stride, top, left;
  int enlarge;  // 1 when upsampling, else 0: pixel (i, j) of the filter's image is (i >> enlarge, j >> enlarge) of x

  DEVICE int channels() const { return c1 + c2; }
};

template <class Op>
ConvGeometry conv_geometry(const Op& op, const Conv2dGeometry& g) {
  const auto i = [](int64_t size) { return static_cast<int>(size); };
  return {i(g.h),
          i(g.w),
          i(g.c1),
          i(g.c2),
          i(g.oh),
          i(g.ow),
          i(g.k),
          i(g.r),
          i(g.s),
          op.stride,
          op.pad_top,
          op.pad_left,
          op.upsample ? 1 : 0};
}

// A number of three digits, the last running quickest: (tap row, tap column, channel), or (sample, pixel row, pixel
// column).
struct Odometer {
  int high, middle, low;

  DEVICE void advance(int by, int middles, int lows) {
    low += by;
    if (low < lows) return;
    middle += low / lows;
    low %= lows;
    if (middle < middles) return;
    high += middle / middles;
    middle %= middles;
  }
};

DEVICE Odometer odometer(int64_t number, int middles, int lows) {
  const int64_t upper = number / lows;
  return {static_cast<int>(upper / middles), static_cast<int>(upper % middles), static_cast<int>(number % lows)};
}

// The pair of inputs as one image of C1 + C2 channels.
struct ConvInput {
  ConvGeometry g;
  const float *x, *x2;

  // Where channel c of pixel (i, j) of the filter's image is; null in the padding.
  DEVICE const float* find(int sample, int i, int j, int c) const {
    if (i < 0 || i >= g.h || j < 0 || j >= g.w) return nullptr;
    const int64_t row = static_cast<int64_t>(sample) * (g.h >> g.enlarge) + (i >> g.enlarge);
    const int64_t pixel = row * (g.w >> g.enlarge) + (j >> g.enlarge);
    return c < g.c1 ? x + pixel * g.c1 + c : x2 + pixel * g.c2 + (c - g.c1);
  }
};

// The four elements from `first` on, wherever find(odometer) says that they are; null: zero. `wide`: they lie side by
// side.
template <class Find>
DEVICE Quad gather(const Odometer& first, int middles, int lows, bool wide, const Find& find) {
  Quad q = {};
  if (wide) {
    if (const float* const from = find(first)) q = *reinterpret_cast<const Quad*>(from);
    return q;
  }
  Odometer at = first;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (const float* const from = find(at)) q.at[i] = *from;
    at.advance(1, middles, lows);
  }
  return q;
}

inline bool can_be_wide(const ConvGeometry& g, const void* x, const void* x2) {
  return can_be_wide(x, g.c1) && can_be_wide(x2, g.c2);
}

}  // namespace diffusion::cuda
