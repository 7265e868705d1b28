// Matrices of bf16 in the layout of matmul_bf16.h, sixteen rows at a time.
#pragma once

#include "cpu/matmul_bf16.h"

namespace diffusion::cpu::DIFFUSION_ISA {

inline constexpr int64_t kPackedRows = 16;

// x [rows, columns], an operand of packing; rows need not lie at even addresses.
struct Bf16Matrix {
  const Bf16* data;
  int64_t rows, columns, row_stride;
  const Bf16* row(int64_t i) const { return data + i * row_stride; }
};

// to [columns, padded with zeros to whole vectors] = pairs (low, high); without `high` its place is zero.
static inline void pair_up(const Bf16* low, const Bf16* high, int64_t columns, uint32_t* to) {
  for (int64_t i = 0; i < columns; i += kVectorLanes) {
    const __mmask16 mask = lanes_below(columns - i);
    Words pairs = words_of(_mm256_maskz_loadu_epi16(mask, low + i));
    if (high) pairs |= words_of(_mm256_maskz_loadu_epi16(mask, high + i)) << 16;
    std::memcpy(to + i, &pairs, sizeof pairs);
  }
}

// B = x: the pairs of rows [first, first + 16) of x.
static inline void pack_rows(const Bf16Matrix& x, int64_t first, uint32_t* to) {
  const int64_t pairs = (x.rows + 1) / 2, end = std::min(first + kPackedRows, x.rows);
  for (int64_t row = first; row < end; row += 2)
    for (int64_t panel = 0; panel < x.columns; panel += kPanel)
      pair_up(x.row(row) + panel, row + 1 < end ? x.row(row + 1) + panel : nullptr, std::min(kPanel, x.columns - panel),
              to + panel * pairs + row / 2 * panel_width(x.columns, panel));
}

// Swaps the bit kBit of the row's number and of the lane's.
template <int kBit>
static inline void swap_lanes(__m512i (&x)[16]) {
  const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i bit = _mm512_set1_epi32(kBit), second = _mm512_set1_epi32(16);
  const __mmask16 set = _mm512_test_epi32_mask(lane, bit);
  const __m512i low = _mm512_mask_or_epi32(lane, set, _mm512_xor_si512(lane, bit), second);
  const __m512i high = _mm512_mask_or_epi32(_mm512_or_si512(lane, bit), set, lane, second);
  for (int i = 0; i < 16; ++i)
    if ((i & kBit) == 0) {
      const __m512i a = x[i], b = x[i | kBit];
      x[i] = _mm512_permutex2var_epi32(a, low, b);
      x[i | kBit] = _mm512_permutex2var_epi32(a, high, b);
    }
}

// B = xᵀ: the columns [first, first + 16) of B, `first` a multiple of 16.
static inline void pack_columns(const Bf16Matrix& x, int64_t first, uint32_t* to) {
  const int64_t pairs = (x.columns + 1) / 2, panel = first / kPanel * kPanel, width = panel_width(x.rows, panel);
  uint32_t* const column = to + panel * pairs + first - panel;
  for (int64_t c = 0; c < x.columns; c += 2 * kVectorLanes) {
    const __mmask32 mask = x.columns - c >= 2 * kVectorLanes ? 0xFFFFFFFFu : (1u << (x.columns - c)) - 1;
    __m512i square[16];
    for (int64_t i = 0; i < 16; ++i)
      square[i] = first + i < x.rows ? _mm512_maskz_loadu_epi16(mask, x.row(first + i) + c) : _mm512_setzero_si512();
    swap_lanes<1>(square);
    swap_lanes<2>(square);
    swap_lanes<4>(square);
    swap_lanes<8>(square);
    for (int64_t i = 0; i < 16 && c / 2 + i < pairs; ++i) _mm512_storeu_si512(column + (c / 2 + i) * width, square[i]);
  }
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
