// The random numbers of core/random.h for runs of elements, in vectors.
#pragma once

#include <cstdint>

#include "core/random.h"

namespace diffusion::cpu::DIFFUSION_ISA {

inline constexpr int64_t kRandomChunk = 1024;  // elements that callers draw at a time
inline constexpr int64_t kCounters = 16;       // counters at a time
// What a buffer needs beyond the elements asked for: whole counters, whole vectors of them.
inline constexpr int64_t kRandomPadding = 4 * kCounters + 4;

namespace bulk {

// map(words, out) for the counters [first, first + blocks) of one sample, four outputs each.
template <class T, class Map>
inline void blocks(const Generator& g, uint32_t sample, uint32_t first, int64_t blocks, T* out, const Map& map) {
  if (blocks <= 3) {
    for (int64_t i = 0; i < blocks; ++i) map(g.words(sample, first + static_cast<uint32_t>(i)), out + 4 * i);
    return;
  }
  for (int64_t block = 0; block < blocks; block += kCounters) {
    alignas(64) uint32_t w[4][kCounters];
    alignas(64) T y[4][kCounters];
    for (int64_t i = 0; i < kCounters; ++i) {
      const Words words = g.words(sample, first + static_cast<uint32_t>(block + i));
      w[0][i] = words.w0;
      w[1][i] = words.w1;
      w[2][i] = words.w2;
      w[3][i] = words.w3;
    }
    for (int64_t i = 0; i < kCounters; ++i) {
      T four[4];
      map(Words{w[0][i], w[1][i], w[2][i], w[3][i]}, four);
      for (int k = 0; k < 4; ++k) y[k][i] = four[k];
    }
    T* to = out + 4 * block;
    for (int64_t i = 0; i < kCounters; ++i)
      for (int k = 0; k < 4; ++k) to[4 * i + k] = y[k][i];
  }
}

template <class T, class Map>
inline T* elements(const Generator& g, uint32_t sample, int64_t first, int64_t count, T* buffer, const Map& map) {
  const int64_t block = first / 4;
  blocks(g, sample, static_cast<uint32_t>(block), (first + count + 3) / 4 - block, buffer, map);
  return buffer + first % 4;
}

}  // namespace bulk

// Words of the elements [first, first + count) of one sample. `buffer` holds count + kRandomPadding; returns where in
// it the first element lies.
inline uint32_t* random_words(const Generator& g, uint32_t sample, int64_t first, int64_t count, uint32_t* buffer) {
  return bulk::elements(g, sample, first, count, buffer, [](const Words& w, uint32_t* out) {
    out[0] = w.w0;
    out[1] = w.w1;
    out[2] = w.w2;
    out[3] = w.w3;
  });
}

// Standard normals, likewise.
inline float* random_normals(const Generator& g, uint32_t sample, int64_t first, int64_t count, float* buffer) {
  return bulk::elements(g, sample, first, count, buffer, [](const Words& w, float* out) {
    const Normals z = normals(w);
    out[0] = z.z0;
    out[1] = z.z1;
    out[2] = z.z2;
    out[3] = z.z3;
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
