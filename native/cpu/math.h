// Elementary functions that the compiler can vectorise without -ffast-math. Relative error below 2^-22 over the whole
// range, denormal results included; NaN and infinities as in libm.
#pragma once

#include <cmath>

#include "core/random.h"

namespace diffusion::cpu::DIFFUSION_ISA {

// a·b + c, fused where the instruction set has it; elsewhere fmaf would be a function call.
inline float madd(float a, float b, float c) {
#ifdef __FP_FAST_FMAF
  return fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

// e^x = 2^n · e^r with |r| <= ln2 / 2; the polynomial is that of the Cephes library.
inline float exp_f32(float x) {
  x = x > 89.0f ? 89.0f : x;  // comparisons keep NaN
  x = x < -104.0f ? -104.0f : x;
  constexpr float kRound = 12582912.0f;  // 1.5 · 2^23: adding it leaves the integer in the low bits
  const float shifted = madd(x, 1.44269504088896341f, kRound);
  const float n = shifted - kRound;
  float r = madd(n, -0.693359375f, x);
  r = madd(n, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = madd(p, r, 1.3981999507e-3f);
  p = madd(p, r, 8.3334519073e-3f);
  p = madd(p, r, 4.1665795894e-2f);
  p = madd(p, r, 1.6666665459e-1f);
  p = madd(p, r, 5.0000001201e-1f);
  p = madd(p, r * r, r) + 1.0f;
  // Two factors reach the denormals below and the infinity above.
  const int32_t exponent = static_cast<int32_t>(float_to_bits(shifted) - 0x4B400000u);
  const int32_t half = exponent >> 1;
  const float low = bits_to_float(static_cast<uint32_t>(half + 127) << 23);
  const float high = bits_to_float(static_cast<uint32_t>(exponent - half + 127) << 23);
  return p * low * high;
}

inline float sigmoid(float x) {
  const float e = exp_f32(-fabsf(x));  // at most 1, so that neither tail overflows
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

inline float silu_f32(float x) { return x * sigmoid(x); }

// The derivative of silu_f32: s·(1 + x·(1 − s)), with 1 − s free of cancellation.
inline float silu_slope(float x) {
  const float e = exp_f32(-fabsf(x)), near = 1.0f / (1.0f + e), far = e * near;
  const float s = x < 0.0f ? far : near, rest = x < 0.0f ? near : far;
  return s * madd(x, rest, 1.0f);
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
