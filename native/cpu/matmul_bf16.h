// Y [M, K] = A [M, C] · B [C, K] of bf16 with sums in f32, by the instruction that multiplies two neighbours along C at
// once. As in matmul.h every element is one chain over c. Only for level v4, whose operations in bf16 run only where
// the processor has that instruction.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "cpu/convert.h"
#include "cpu/matmul.h"

#define DIFFUSION_WITH_BF16 __attribute__((target("avx512bf16")))

namespace diffusion::cpu::DIFFUSION_ISA {

typedef uint32_t Words __attribute__((vector_size(64)));

static inline Words words_of(__m256i halves) {
  typedef uint16_t Halves __attribute__((vector_size(32)));
  return __builtin_convertvector((Halves)halves, Words);
}

// B holds pairs (b[2i, k], b[2i + 1, k]) in panels of kPanel columns, one after the other: [K / kPanel][C / 2][kPanel].
// C is padded to pairs and K to vectors, both with zeros; the last panel is as narrow as it can be.
static inline int64_t packed_size(int64_t c, int64_t k) {
  return (c + 1) / 2 * ((k + kVectorLanes - 1) / kVectorLanes * kVectorLanes);
}
static inline int64_t panel_width(int64_t k, int64_t panel) {
  return std::min(kPanel, (k - panel + kVectorLanes - 1) / kVectorLanes * kVectorLanes);
}

static inline __mmask16 lanes_below(int64_t n) {
  return static_cast<__mmask16>(n >= kVectorLanes ? 0xFFFF : n <= 0 ? 0 : (1 << n) - 1);
}

// T: float, with room for whole vectors in a row of Y, or Bf16.
template <class T>
struct PairMatmul {
  int64_t m, c, k;
  const Bf16* a;  // a[r, 2i] and behind it a[r, 2i + 1]: a[r·a_row + i·a_pair]
  int64_t a_row, a_pair;
  const uint32_t* b;
  T* y;
  int64_t y_row;
  float scale = 1;
  const float* row_scales = nullptr;  // [M], instead of one scale
};

static inline void store_sums(float* to, int64_t, __m512 sum) { _mm512_storeu_ps(to, sum); }

DIFFUSION_WITH_BF16 static inline void store_sums(Bf16* to, int64_t room, __m512 sum) {
  _mm256_mask_storeu_epi16(to, lanes_below(room), (__m256i)_mm512_cvtneps_pbh(sum));
}

template <int kRows, int kVectors>
DIFFUSION_WITH_BF16 static inline void add_products(__m512 (&sum)[kRows][kVectors], const uint32_t (&pairs)[kRows],
                                                    const uint32_t* b) {
  __m512i panel[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) panel[v] = _mm512_loadu_si512(b + v * kVectorLanes);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const __m512i pair = _mm512_set1_epi32(static_cast<int>(pairs[r]));
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], (__m512bh)pair, (__m512bh)panel[v]);
  }
}

template <int kRows, int kVectors, class T>
DIFFUSION_WITH_BF16 static void pair_tile(const PairMatmul<T>& p, int64_t row, int64_t column, const uint32_t* b,
                                          int64_t b_row) {
  __m512 sum[kRows][kVectors] = {};
  const Bf16* a = p.a + row * p.a_row;
  uint32_t pairs[kRows];
  for (int64_t i = 0; i < p.c / 2; ++i, a += p.a_pair, b += b_row) {
    for (int r = 0; r < kRows; ++r) std::memcpy(&pairs[r], a + r * p.a_row, sizeof(uint32_t));
    add_products(sum, pairs, b);
  }
  if (p.c % 2 != 0) {
    for (int r = 0; r < kRows; ++r) pairs[r] = a[r * p.a_row].bits;
    add_products(sum, pairs, b);
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const __m512 scale = _mm512_set1_ps(p.row_scales ? p.row_scales[row + r] : p.scale);
    T* const y = p.y + (row + r) * p.y_row + column;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      store_sums(y + v * kVectorLanes, p.k - column - v * kVectorLanes, sum[r][v] * scale);
  }
}

template <int kRows, int kVectors, class T>
static void pair_rows(const PairMatmul<T>& p, int64_t row, int64_t column, const uint32_t* b) {
  for (; row + kRows <= p.m; row += kRows)
    pair_tile<kRows, kVectors>(p, row, column, b, static_cast<int64_t>(kVectors) * kVectorLanes);
  if constexpr (kRows > 1) pair_rows<(kRows > 4 ? 4 : kRows / 2), kVectors>(p, row, column, b);
}

template <int kVectors, class T>
static void pair_panel(const PairMatmul<T>& p, int64_t column, int64_t width, const uint32_t* b) {
  if (width == kVectors * kVectorLanes) return pair_rows<kTileRows, kVectors>(p, 0, column, b);
  if constexpr (kVectors > 1) pair_panel<kVectors - 1>(p, column, width, b);
}

// In the calling thread.
template <class T>
static void pair_matmul(const PairMatmul<T>& p) {
  for (int64_t column = 0; column < p.k; column += kPanel)
    pair_panel<kTileVectors>(p, column, panel_width(p.k, column), p.b + column * ((p.c + 1) / 2));
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
