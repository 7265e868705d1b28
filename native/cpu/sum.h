// Sums in float64 whose order depends on the length alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/parallel.h"

namespace diffusion::cpu::DIFFUSION_ISA {

inline constexpr int64_t kSumBlock = 32768;  // elements that one thread sums at a time

inline int64_t sum_blocks(int64_t n) { return std::max<int64_t>(1, (n + kSumBlock - 1) / kSumBlock); }

// Σ term(i) over [begin, end), in 16 lanes added pairwise at the end.
template <class Term>
inline double sum_terms(int64_t begin, int64_t end, const Term& term) {
  constexpr int64_t kSumLanes = 16;
  double lane[kSumLanes] = {};
  int64_t i = begin;
  for (; i + kSumLanes <= end; i += kSumLanes)
#pragma omp simd
    for (int64_t k = 0; k < kSumLanes; ++k) lane[k] += term(i + k);
  for (int64_t k = 0; i < end; ++i, ++k) lane[k] += term(i);
  for (int64_t half = kSumLanes / 2; half > 0; half /= 2)
    for (int64_t k = 0; k < half; ++k) lane[k] += lane[k + half];
  return lane[0];
}

// sums[s, k] = Σ over the blocks of segment s of what sum_block(s, first, last, block sums [n]) writes for its elements
// [first, last) of [0, length). Uses scratch slot 0.
template <int n = 1, class SumBlock>
double* sum_blocks_of(Stream& stream, int64_t segments, int64_t length, const SumBlock& sum_block) {
  const int64_t blocks = sum_blocks(length);
  auto* partial = static_cast<double*>(stream.scratch.get(0, n * segments * (blocks + 1) * sizeof(double)));
  double* sums = partial + n * segments * blocks;
  parallel_for(stream, segments * blocks, grain_of(std::min(length, kSumBlock)), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item % blocks * kSumBlock;
      sum_block(item / blocks, first, std::min(length, first + kSumBlock), partial + n * item);
    }
  });
  for (int64_t s = 0; s < segments; ++s)
    for (int64_t k = 0; k < n; ++k) {
      sums[n * s + k] = 0;
      for (int64_t b = 0; b < blocks; ++b) sums[n * s + k] += partial[n * (s * blocks + b) + k];
    }
  return sums;
}

// sums[s] = Σ term(i) over the i of segment s, [s·length, (s + 1)·length). Uses scratch slot 0.
template <class Term>
double* sum_segments(Stream& stream, int64_t segments, int64_t length, const Term& term) {
  return sum_blocks_of(stream, segments, length, [&](int64_t s, int64_t first, int64_t last, double* sum) {
    *sum = sum_terms(s * length + first, s * length + last, term);
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
