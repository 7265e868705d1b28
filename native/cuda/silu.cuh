// x · sigmoid(x) and its derivative.
#pragma once

#include <cmath>

#include "cuda/simt.h"

namespace diffusion::cuda {

DEVICE float silu_f32(float x) {
  const float e = expf(-fabsf(x));  // at most 1, so that neither tail overflows
  return x * ((x < 0.0f ? e : 1.0f) / (1.0f + e));
}

// s·(1 + x·(1 − s)), with 1 − s free of cancellation.
DEVICE float silu_slope(float x) {
  const float e = expf(-fabsf(x)), near = 1.0f / (1.0f + e), far = e * near;
  const float s = x < 0.0f ? far : near, rest = x < 0.0f ? near : far;
  return s * fmaf(x, rest, 1.0f);
}

}  // namespace diffusion::cuda
