// Division of a number by one that the host knows.
#pragma once

#include <cstdint>

#include "cuda/simt.h"

namespace diffusion::cuda {

// Division of a 31-bit number by one that the host knows, as a multiplication (Granlund & Montgomery 1994).
struct Divisor {
  uint32_t value = 1, multiplier = 1, shift = 0;

  explicit Divisor(int64_t divisor) : value(static_cast<uint32_t>(divisor)) {
    while ((uint64_t{1} << shift) < value) ++shift;
    multiplier = static_cast<uint32_t>(((uint64_t{1} << 32) * ((uint64_t{1} << shift) - value)) / value + 1);
  }
  DEVICE uint32_t of(uint32_t x) const {
    return static_cast<uint32_t>(((uint64_t{x} * multiplier >> 32) + x) >> shift);
  }
};

}  // namespace diffusion::cuda
