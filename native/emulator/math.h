// CUDA's device functions of arithmetic: the ones that have exactly one right answer, and approximations as precise as
// they can be.
#pragma once

#include <math.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __frsqrt_rn(float x) { return static_cast<float>(1.0 / sqrt(static_cast<double>(x))); }
inline float __expf(float x) { return expf(x); }
inline float __exp2f(float x) { return exp2f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }
inline void sincospif(float x, float* s, float* c) {
  *s = static_cast<float>(sin(M_PI * static_cast<double>(x)));
  *c = static_cast<float>(cos(M_PI * static_cast<double>(x)));
}

inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }

// The device's conversions clamp, and turn NaN into 0, where C++ leaves the result undefined.
namespace diffusion::emulator {
template <class To>
inline To clamped(double x) {
  constexpr double low =
      static_cast<double>(std::is_signed_v<To> ? static_cast<To>(To{1} << (sizeof(To) * 8 - 1)) : To{0});
  constexpr double one_past =
      (std::is_signed_v<To> ? 1.0 : 2.0) * static_cast<double>(uint64_t{1} << (sizeof(To) * 8 - 1));
  if (x != x) return 0;
  if (x <= low) return static_cast<To>(low);
  if (x >= one_past)
    return static_cast<To>(std::is_signed_v<To> ? ~static_cast<To>(To{1} << (sizeof(To) * 8 - 1)) : ~To{0});
  return static_cast<To>(x);
}
}  // namespace diffusion::emulator

inline int __float2int_rn(float x) { return diffusion::emulator::clamped<int>(rint(static_cast<double>(x))); }
inline int __float2int_rz(float x) { return diffusion::emulator::clamped<int>(trunc(static_cast<double>(x))); }
inline int __float2int_rd(float x) { return diffusion::emulator::clamped<int>(floor(static_cast<double>(x))); }
inline int __float2int_ru(float x) { return diffusion::emulator::clamped<int>(ceil(static_cast<double>(x))); }
inline unsigned __float2uint_rn(float x) {
  return diffusion::emulator::clamped<unsigned>(rint(static_cast<double>(x)));
}
inline unsigned __float2uint_rz(float x) {
  return diffusion::emulator::clamped<unsigned>(trunc(static_cast<double>(x)));
}
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }

inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }

inline unsigned __umulhi(unsigned x, unsigned y) { return static_cast<unsigned>((uint64_t{x} * y) >> 32); }
inline int __mulhi(int x, int y) { return static_cast<int>((int64_t{x} * y) >> 32); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }

#define DIFFUSION_MIN_MAX(T)                       \
  inline T min(T a, T b) { return b < a ? b : a; } \
  inline T max(T a, T b) { return a < b ? b : a; }
DIFFUSION_MIN_MAX(int)
DIFFUSION_MIN_MAX(unsigned)
DIFFUSION_MIN_MAX(long)
DIFFUSION_MIN_MAX(unsigned long)
DIFFUSION_MIN_MAX(long long)
DIFFUSION_MIN_MAX(unsigned long long)
#undef DIFFUSION_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
