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
inline constexpr float kExp[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};

struct ExpParts {
  float power;  // e^r
  int32_t n;
};

inline ExpParts exp_parts(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 · 2^23: adding it leaves the integer in the low bits
  const float shifted = madd(x, 1.44269504088896341f, kRound);
  const float n = shifted - kRound;
  float r = madd(n, -0.693359375f, x);
  r = madd(n, 2.12194440e-4f, r);
  float p = kExp[0];
  p = madd(p, r, kExp[1]);
  p = madd(p, r, kExp[2]);
  p = madd(p, r, kExp[3]);
  p = madd(p, r, kExp[4]);
  p = madd(p, r, kExp[5]);
  return {madd(p, r * r, r) + 1.0f, static_cast<int32_t>(float_to_bits(shifted) - 0x4B400000u)};
}

inline float power_of_two(int32_t n) { return bits_to_float(static_cast<uint32_t>(n + 127) << 23); }

inline float exp_f32(float x) {
  x = x > 89.0f ? 89.0f : x;  // comparisons keep NaN
  x = x < -104.0f ? -104.0f : x;
  const auto [power, n] = exp_parts(x);
  const int32_t half = n >> 1;  // two factors reach the denormals below and the infinity above
  return power * power_of_two(half) * power_of_two(n - half);
}

// The same bits for x <= 40, in two thirds of the time.
inline float exp_falling_f32(float x) {
  constexpr float kTiny = 0x1p-64f;  // with one factor that depends on x, 2^n+64, denormals are reached too
  x = x < -104.0f ? -104.0f : x;
  const auto [power, n] = exp_parts(x);
  return power * power_of_two(n + 64) * kTiny;
}

inline float sigmoid(float x) {
  const float e = exp_falling_f32(-fabsf(x));  // at most 1, so that neither tail overflows
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

inline float silu_f32(float x) { return x * sigmoid(x); }

// The derivative of silu_f32: s·(1 + x·(1 − s)), with 1 − s free of cancellation.
inline float silu_slope(float x) {
  const float e = exp_falling_f32(-fabsf(x)), near = 1.0f / (1.0f + e), far = e * near;
  const float s = x < 0.0f ? far : near, rest = x < 0.0f ? near : far;
  return s * madd(x, rest, 1.0f);
}

// The derivative of sigmoid, free of cancellation.
inline float sigmoid_slope(float x) {
  const float e = exp_falling_f32(-fabsf(x)), near = 1.0f / (1.0f + e);
  return e * near * near;
}

// Near zero by the polynomial of the Cephes library, where 1 − e^(−2|x|) would cancel.
inline float tanh_f32(float x) {
  const float e = exp_falling_f32(-2.0f * fabsf(x));
  const float far = (1.0f - e) / (1.0f + e);
  const float z = x * x;
  float p = -5.70498872745e-3f;
  p = madd(p, z, 2.06390887954e-2f);
  p = madd(p, z, -5.37397155531e-2f);
  p = madd(p, z, 1.33314422036e-1f);
  p = madd(p, z, -3.33332819422e-1f);
  const float near = madd(p * z, x, x);
  return fabsf(x) < 0.625f ? near : copysignf(far, x);
}

// φ(x)·√(2π) and Φ(−|x|) of the standard normal distribution: Φ(−a) = e^(−a²/2)·t·P(t) with t = 1/(1 + 0.35·a), P
// fitted to a relative error of 3e-8.
struct Normal {
  float density, tail;
};

inline Normal normal_f32(float x) {
  float a = fabsf(x);
  a = a > 15.0f ? 15.0f : a;  // Φ(−15) is 0 in f32; the comparison keeps NaN
  const float square = a * a;
  const float density =
      exp_falling_f32(-0.5f * square) * madd(madd(a, a, -square), -0.5f, 1.0f);  // what rounding a² lost
  const float t = 1.0f / madd(0.35f, a, 1.0f);
  float p = -0.0291584991f;
  p = madd(p, t, 0.144033805f);
  p = madd(p, t, -0.255844742f);
  p = madd(p, t, 0.159325927f);
  p = madd(p, t, -0.0232163817f);
  p = madd(p, t, 0.105554081f);
  p = madd(p, t, 0.119820923f);
  p = madd(p, t, 0.139863566f);
  p = madd(p, t, 0.139621302f);
  return {density, density * (p * t)};
}

inline float normal_cdf(float x, float tail) { return x < 0.0f ? tail : 1.0f - tail; }

inline float gelu_f32(float x) { return x * normal_cdf(x, normal_f32(x).tail); }

inline float gelu_slope(float x) {
  constexpr float kDensity = 0.398942280401432678f;  // 1/√(2π)
  const Normal at = normal_f32(x);
  return madd(x, kDensity * at.density, normal_cdf(x, at.tail));
}

// ½·(1 + tanh(u)) is sigmoid(2u), here of u = √(2/π)·(x + 0.044715·x³).
constexpr float kGeluLinear = 1.59576912160573071f, kGeluCubic = 0.0713548162726002527f;

inline float gelu_tanh_f32(float x) { return x * sigmoid(x * madd(kGeluCubic * x, x, kGeluLinear)); }

inline float gelu_tanh_slope(float x) {
  float near = x > 15.0f ? 15.0f : x;  // beyond, the slope is 0 or 1
  near = near < -15.0f ? -15.0f : near;
  const float square = near * near, u = near * madd(kGeluCubic, square, kGeluLinear);
  return madd(near * sigmoid_slope(u), madd(3.0f * kGeluCubic, square, kGeluLinear), sigmoid(u));
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
