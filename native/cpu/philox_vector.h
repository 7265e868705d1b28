// Philox4x32-10 of core/random.h on vectors of counters. Each counter has a 64-bit lane of which the lower half
// counts: the multiplication of halves that every x86 has then needs neither masks nor shuffles.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/random.h"

namespace diffusion::cpu::DIFFUSION_ISA::philox_vector {

#if defined(__AVX512F__)
inline constexpr int kLanes = 8;
#elif defined(__AVX2__)
inline constexpr int kLanes = 4;
#else
inline constexpr int kLanes = 2;
#endif
inline constexpr int kCounters = 16;  // in flight, to hide the latency of the multiplications
inline constexpr int kVectors = kCounters / kLanes;

typedef uint64_t Lanes __attribute__((vector_size(kLanes * sizeof(uint64_t))));

// The product of the lower halves.
inline __attribute__((always_inline)) Lanes multiply(Lanes a, Lanes b) {
#if defined(__AVX512F__)
  return (Lanes)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, (__m512i)b);  // no mask: GCC 12 warns about the plain form
#elif defined(__AVX2__)
  return (Lanes)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (Lanes)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

// The lower halves of low and high, as the halves of each lane.
inline __attribute__((always_inline)) Lanes pair(Lanes low, Lanes high) { return (low & 0xFFFFFFFFu) | (high << 32); }

struct Key {
  uint64_t low[10], high[10];

  explicit Key(const Generator& g) {
    for (uint32_t round = 0; round < 10; ++round) {
      low[round] = g.key0 + round * 0x9E3779B9u;
      high[round] = g.key1 + round * 0xBB67AE85u;
    }
  }
};

// The 64 words of 16 counters from `block` on, in the order of elements.
inline void sixteen(const Generator& g, const Key& key, uint32_t sample, uint32_t block, uint32_t* words) {
  const Lanes multiplier0 = Lanes{} + 0xD2511F53u, multiplier1 = Lanes{} + 0xCD9E8D57u;
  Lanes c0[kVectors], c1[kVectors], c2[kVectors], c3[kVectors];
  // Counter j of a vector sits in lane 2j, counter j + half in lane 2j + 1, as the interleaving at the end wants it.
  Lanes order;
  for (int lane = 0; lane < kLanes; ++lane) order[lane] = static_cast<uint64_t>(lane / 2 + lane % 2 * (kLanes / 2));
  for (int i = 0; i < kVectors; ++i) {
    c0[i] = order + (block + static_cast<uint32_t>(i * kLanes));
    c1[i] = Lanes{} + (g.first_sample + sample);
    c2[i] = Lanes{} + g.step;
    c3[i] = Lanes{} + g.stream;
  }
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round)
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      const Lanes p0 = multiply(c0[i], multiplier0), p1 = multiply(c2[i], multiplier1);
      c0[i] = (p1 >> 32) ^ c1[i] ^ key.low[round];
      c2[i] = (p0 >> 32) ^ c3[i] ^ key.high[round];
      c1[i] = p1;
      c3[i] = p0;
    }
  for (int i = 0; i < kVectors; ++i) {
    const Lanes front = pair(c0[i], c1[i]), back = pair(c2[i], c3[i]);
#if defined(__AVX512F__)
    const Lanes first = __builtin_shufflevector(front, back, 0, 8, 2, 10, 4, 12, 6, 14);
    const Lanes second = __builtin_shufflevector(front, back, 1, 9, 3, 11, 5, 13, 7, 15);
#elif defined(__AVX2__)
    const Lanes first = __builtin_shufflevector(front, back, 0, 4, 2, 6);
    const Lanes second = __builtin_shufflevector(front, back, 1, 5, 3, 7);
#else
    const Lanes first = __builtin_shufflevector(front, back, 0, 2);
    const Lanes second = __builtin_shufflevector(front, back, 1, 3);
#endif
    std::memcpy(words + i * 4 * kLanes, &first, sizeof first);
    std::memcpy(words + i * 4 * kLanes + 2 * kLanes, &second, sizeof second);
  }
}

}  // namespace diffusion::cpu::DIFFUSION_ISA::philox_vector
