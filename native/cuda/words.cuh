// Moving values without looking at them, in words as wide as sizes and addresses allow.
#pragma once

#include <cstdint>

#include "core/view.h"
#include "cuda/pack.cuh"

namespace diffusion::cuda {

// f(Word{}) with the widest type of 16, 8, 4 or 2 bytes that divides `bits`: addresses and sizes in bytes, or-ed.
template <class F>
void with_word(uint64_t bits, const F& f) {
  if (bits % 16 == 0) return f(Pack<uint32_t, 4>{});
  if (bits % 8 == 0) return f(Pack<uint32_t, 2>{});
  if (bits % 4 == 0) return f(uint32_t{});
  f(uint16_t{});
}

// The rows of a tensor for with_word: where they begin, and how long one is.
inline uint64_t row_bits(const View& x) {
  return reinterpret_cast<uintptr_t>(x.data) | static_cast<uint64_t>(x.channels()) * bytes_of(x.dtype);
}

}  // namespace diffusion::cuda
