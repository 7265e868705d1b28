// Conversion between element types as core/ops/layout.h defines it: to nearest even, saturating, NaN → 0 for integers.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "core/random.h"
#include "cuda/simt.h"

namespace diffusion::cuda {

struct Bf16 {
  uint16_t bits;
};

DEVICE float widen(Bf16 x) { return bits_to_float(static_cast<uint32_t>(x.bits) << 16); }

// A NaN stays one: quiet, with the upper bits of its payload.
DEVICE Bf16 to_bf16(float x) {
  const uint32_t bits = float_to_bits(x);
  const bool nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
  const uint32_t rounded = nan ? bits | 0x00400000u : bits + 0x7FFFu + ((bits >> 16) & 1u);
  return {static_cast<uint16_t>(rounded >> 16)};
}

// Rounded once, not by way of a rounded f32: from 2^24 on the low 8 bits, all far below bf16's precision, become one
// sticky bit, and what remains is exact in f32.
DEVICE Bf16 to_bf16(int32_t x) {
  uint32_t magnitude = x < 0 ? 0u - static_cast<uint32_t>(x) : static_cast<uint32_t>(x);
  if (magnitude >= 1u << 24) magnitude = (magnitude & ~0xFFu) | ((magnitude & 0xFFu) != 0 ? 0x100u : 0u);
  const float exact = static_cast<float>(magnitude);
  return to_bf16(x < 0 ? -exact : exact);
}

// Comparisons before the cast: a float outside the integers' range has no value in C++.
DEVICE int32_t to_i32(float x) {
  const float r = rintf(x);
  if (r >= 2147483648.0f) return INT32_MAX;
  return r >= -2147483648.0f ? static_cast<int32_t>(r) : r < 0.0f ? INT32_MIN : 0;
}

DEVICE uint8_t to_u8(float x) {
  const float r = rintf(x);
  return static_cast<uint8_t>(r >= 255.0f ? 255 : r > 0.0f ? static_cast<int32_t>(r) : 0);
}

DEVICE uint8_t to_u8(int32_t x) { return static_cast<uint8_t>(x < 0 ? 0 : x > 255 ? 255 : x); }

template <class To, class From>
DEVICE To convert(From x) {
  if constexpr (std::is_same_v<To, From>)
    return x;
  else if constexpr (std::is_same_v<From, Bf16>)
    return convert<To>(widen(x));
  else if constexpr (std::is_same_v<To, Bf16> && std::is_same_v<From, uint8_t>)
    return to_bf16(static_cast<float>(x));
  else if constexpr (std::is_same_v<To, Bf16>)
    return to_bf16(x);
  else if constexpr (std::is_same_v<To, uint8_t>)
    return to_u8(x);
  else if constexpr (std::is_same_v<To, int32_t> && std::is_same_v<From, float>)
    return to_i32(x);
  else
    return static_cast<To>(x);
}

}  // namespace diffusion::cuda
