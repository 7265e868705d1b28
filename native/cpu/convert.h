// Conversion between element types as core/ops/layout.h defines it: to nearest even, saturating, NaN → 0 for integers.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/random.h"

namespace diffusion::cpu::DIFFUSION_ISA {

struct Bf16 {
  uint16_t bits;
};

inline float widen(Bf16 x) { return bits_to_float(static_cast<uint32_t>(x.bits) << 16); }

inline Bf16 round_bf16(float x) {
  const uint32_t bits = float_to_bits(x);
  const uint32_t rounded = bits + 0x7FFFu + ((bits >> 16) & 1u);
  const bool nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
  return {static_cast<uint16_t>((nan ? bits | 0x00400000u : rounded) >> 16)};
}

// Rounded once: going through float32 would round twice.
inline Bf16 round_bf16(int32_t x) {
  // 16 low bits at most fall below bf16's precision for |x| >= 2^24; they are folded into one sticky bit.
  const uint32_t magnitude = x < 0 ? 0u - static_cast<uint32_t>(x) : static_cast<uint32_t>(x);
  const uint32_t sticky =
      magnitude >= (1u << 24) ? (magnitude & ~0xFFu) | ((magnitude & 0xFFu) != 0 ? 0x100u : 0u) : magnitude;
  const float exact = static_cast<float>(static_cast<int32_t>(sticky >> 1)) * 2.0f + static_cast<float>(sticky & 1u);
  return round_bf16(x < 0 ? -exact : exact);
}

inline int32_t round_i32(float x) {
  const float r = rintf(x);
  const int32_t inside = static_cast<int32_t>(r >= -2147483648.0f && r < 2147483648.0f ? r : 0.0f);
  return r >= 2147483648.0f ? INT32_MAX : r < -2147483648.0f ? INT32_MIN : inside;
}

inline uint8_t round_u8(float x) {
  const float r = rintf(x);
  const float low = r > 0.0f ? r : 0.0f;  // NaN becomes 0
  return static_cast<uint8_t>(static_cast<int32_t>(low < 255.0f ? low : 255.0f));
}

inline uint8_t round_u8(int32_t x) { return static_cast<uint8_t>(x < 0 ? 0 : x > 255 ? 255 : x); }

template <class To, class From>
inline To convert(From x) {
  if constexpr (__is_same(To, From))
    return x;
  else if constexpr (__is_same(From, Bf16))
    return convert<To>(widen(x));
  else if constexpr (__is_same(To, Bf16) && __is_same(From, uint8_t))
    return round_bf16(static_cast<float>(x));
  else if constexpr (__is_same(To, Bf16))
    return round_bf16(x);
  else if constexpr (__is_same(To, uint8_t))
    return round_u8(x);
  else if constexpr (__is_same(To, int32_t) && __is_same(From, float))
    return round_i32(x);
  else
    return static_cast<To>(x);
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
