// Sixteen bytes as eight neighbouring bf16: how tensor-core kernels read and write memory.
#pragma once

#include <cstdint>

#include "cuda/convert.cuh"
#include "cuda/ptx.cuh"

namespace diffusion::cuda {

inline constexpr int kChunk = 8;

struct alignas(16) Chunk {
  uint32_t words[kChunk / 2];  // the earlier element in the lower half
};

// Eight sums on their way to memory.
struct Eight {
  float at[kChunk];
};

// Whether rows of `pitch` elements from `data` on consist of whole chunks that may be moved as 16 bytes.
inline bool has_chunks(const void* data, int64_t pitch) {
  return reinterpret_cast<uintptr_t>(data) % sizeof(Chunk) == 0 && pitch % kChunk == 0;
}

DEVICE void add_eight(Eight& sum, const Chunk& chunk) {
#pragma unroll
  for (int i = 0; i < kChunk / 2; ++i) {
    sum.at[2 * i] += bits_to_float(chunk.words[i] << 16);
    sum.at[2 * i + 1] += bits_to_float(chunk.words[i] & 0xFFFF0000u);
  }
}

// The first `count` (≥ 8: all) of eight elements are added. `wide`: 16 bytes may be read at once.
DEVICE void add_eight(Eight& sum, const Bf16* from, int64_t count, bool wide) {
  if (wide) {
    add_eight(sum, *reinterpret_cast<const Chunk*>(from));
  } else {
#pragma unroll
    for (int i = 0; i < kChunk; ++i)
      if (i < count) sum.at[i] += widen(from[i]);
  }
}

struct alignas(16) FourFloats {
  float at[4];
};

DEVICE void add_eight(Eight& sum, const float* from, int64_t count, bool wide) {
  if (wide) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const FourFloats four = reinterpret_cast<const FourFloats*>(from)[half];
#pragma unroll
      for (int i = 0; i < 4; ++i) sum.at[4 * half + i] += four.at[i];
    }
  } else {
#pragma unroll
    for (int i = 0; i < kChunk; ++i)
      if (i < count) sum.at[i] += from[i];
  }
}

DEVICE void write_eight(Bf16* to, const Eight& sum, int64_t count, bool wide) {
  if (wide) {
    Chunk chunk;
#pragma unroll
    for (int i = 0; i < kChunk / 2; ++i) chunk.words[i] = pack_bf16(sum.at[2 * i], sum.at[2 * i + 1]);
    *reinterpret_cast<Chunk*>(to) = chunk;
  } else {
#pragma unroll
    for (int i = 0; i < kChunk; ++i)
      if (i < count) to[i] = to_bf16(sum.at[i]);
  }
}

DEVICE void write_eight(float* to, const Eight& sum, int64_t count, bool wide) {
  if (wide) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
      reinterpret_cast<FourFloats*>(to)[half] = {sum.at[4 * half], sum.at[4 * half + 1], sum.at[4 * half + 2],
                                                 sum.at[4 * half + 3]};
  } else {
#pragma unroll
    for (int i = 0; i < kChunk; ++i)
      if (i < count) to[i] = sum.at[i];
  }
}

}  // namespace diffusion::cuda
