// x · sigmoid(x) and its derivative.
#pragma once

#include <cmath>
#include <type_traits>

#include "cuda/convert.cuh"
#include "cuda/simt.h"

namespace diffusion::cuda {

// exp(−|x|), at most 1, so that neither tail overflows; and 1/x of 1 ≤ x ≤ 2. Results that are rounded to bf16 take the
// GPU's own approximations, a hundred times more precise than that.
template <class T>
DEVICE float decay(float x) {
  if constexpr (std::is_same_v<T, float>)
    return expf(-fabsf(x));
  else
    return __expf(-fabsf(x));
}
template <class T>
DEVICE float inverse(float x) {
  if constexpr (std::is_same_v<T, float>)
    return 1.0f / x;
  else
    return __fdividef(1.0f, x);
}

template <class T>
DEVICE float silu_of(float x) {
  const float e = decay<T>(x);
  if constexpr (std::is_same_v<T, float>) return x * ((x < 0.0f ? e : 1.0f) / (1.0f + e));
  return x * ((x < 0.0f ? e : 1.0f) * inverse<T>(1.0f + e));
}

// s·(1 + x·(1 − s)), with 1 − s free of cancellation.
template <class T>
DEVICE float silu_slope(float x) {
  const float e = decay<T>(x), near = inverse<T>(1.0f + e), far = e * near;
  const float s = x < 0.0f ? far : near, rest = x < 0.0f ? near : far;
  return s * fmaf(x, rest, 1.0f);
}

}  // namespace diffusion::cuda
