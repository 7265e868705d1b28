// The random numbers of core/random.h for runs of elements, in vectors.
#pragma once

#include <cstdint>

#include "core/random.h"
#include "cpu/philox_vector.h"

namespace diffusion::cpu::DIFFUSION_ISA {

inline constexpr int64_t kRandomChunk = 1024;  // elements that callers draw at a time
// What a buffer needs beyond the elements asked for: whole counters, whole vectors of them.
inline constexpr int64_t kRandomPadding = 4 * philox_vector::kCounters + 4;

// Words of the elements [first, first + count) of one sample. `buffer` holds count + kRandomPadding; returns where in
// it the first element lies.
inline uint32_t* random_words(const Generator& g, uint32_t sample, int64_t first, int64_t count, uint32_t* buffer) {
  const int64_t begin = first / 4, blocks = (first + count + 3) / 4 - begin;
  if (blocks < 4) {
    for (int64_t i = 0; i < blocks; ++i) {
      const Words w = g.words(sample, static_cast<uint32_t>(begin + i));
      const uint32_t four[4] = {w.w0, w.w1, w.w2, w.w3};
      std::memcpy(buffer + 4 * i, four, sizeof four);
    }
  } else {
    const philox_vector::Key key(g);
    for (int64_t i = 0; i < blocks; i += philox_vector::kCounters)
      philox_vector::sixteen(g, key, sample, static_cast<uint32_t>(begin + i), buffer + 4 * i);
  }
  return buffer + first % 4;
}

// Standard normals, likewise; count is kRandomChunk at most.
inline float* random_normals(const Generator& g, uint32_t sample, int64_t first, int64_t count, float* buffer) {
  alignas(64) uint32_t words[kRandomChunk + kRandomPadding];
  const int64_t offset = random_words(g, sample, first, count, words) - words;
  const int64_t pairs = (offset + count + 1) / 2;
#pragma omp simd
  for (int64_t i = 0; i < pairs; ++i) box_muller(words[2 * i], words[2 * i + 1], buffer[2 * i], buffer[2 * i + 1]);
  return buffer + offset;
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
