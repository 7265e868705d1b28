// Y [M, K] = A [M, C] · B [C, K] with a fixed order of additions: every element is one chain over c, so its bits depend
// neither on M nor on how the work is divided. Rows of B and Y are contiguous, A may have any strides.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "cpu/math.h"
#include "cpu/parallel.h"

namespace diffusion::cpu::DIFFUSION_ISA {

struct Matmul {
  int64_t m, c, k;
  const float* a;
  int64_t a_row, a_column;
  const float* b;
  int64_t b_row;
  float* y;
  int64_t y_row;
  const float* bias = nullptr;    // [K], added
  const float* addend = nullptr;  // [M, K] with the strides of y, added
  float scale = 1;                // of the product
};

// A tile of Y stays in registers while c runs: 6 rows of 4 (AVX-512) or 2 vectors.
#if defined(__AVX512F__)
inline constexpr int kVectorLanes = 16, kTileVectors = 4, kTileRows = 6;
#elif defined(__AVX__)
inline constexpr int kVectorLanes = 8, kTileVectors = 2, kTileRows = 6;
#else
inline constexpr int kVectorLanes = 4, kTileVectors = 2, kTileRows = 4;
#endif

typedef float Vector __attribute__((vector_size(kVectorLanes * sizeof(float))));

static inline Vector load(const float* from) {
  Vector v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
static inline void store(float* to, Vector v) { std::memcpy(to, &v, sizeof v); }

// The vector form of madd in math.h, with the same rounding.
static inline Vector madd(float a, Vector b, Vector c) {
#if defined(__AVX512F__)
  return (Vector)_mm512_fmadd_ps(_mm512_set1_ps(a), (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (Vector)_mm256_fmadd_ps(_mm256_set1_ps(a), (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

template <int kRows, int kVectors>
static void matmul_tile(const Matmul& p, int64_t row, int64_t column) {
  Vector sum[kRows][kVectors] = {};
  const float* a = p.a + row * p.a_row;
  const float* b = p.b + column;
  for (int64_t c = 0; c < p.c; ++c, a += p.a_column, b += p.b_row) {
    Vector panel[kVectors];
    for (int v = 0; v < kVectors; ++v) panel[v] = load(b + v * kVectorLanes);
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kVectors; ++v) sum[r][v] = madd(a[r * p.a_row], panel[v], sum[r][v]);
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v) {
      const int64_t k = column + v * kVectorLanes, at = (row + r) * p.y_row + k;
      Vector y = sum[r][v] * p.scale;
      if (p.bias) y += load(p.bias + k);
      if (p.addend) y += load(p.addend + at);
      store(p.y + at, y);
    }
}

// Fewer columns than a vector.
static inline void matmul_rest(const Matmul& p, int64_t row, int64_t column) {
  float sum[kVectorLanes] = {};
  const int64_t columns = p.k - column;
  const float* a = p.a + row * p.a_row;
  const float* b = p.b + column;
  for (int64_t c = 0; c < p.c; ++c, a += p.a_column, b += p.b_row)
    for (int64_t i = 0; i < columns; ++i) sum[i] = madd(*a, b[i], sum[i]);
  for (int64_t i = 0; i < columns; ++i) {
    const int64_t at = row * p.y_row + column + i;
    float y = sum[i] * p.scale;
    if (p.bias) y += p.bias[column + i];
    if (p.addend) y += p.addend[at];
    p.y[at] = y;
  }
}

template <int kVectors>
static int64_t matmul_columns(const Matmul& p, int64_t row, int64_t end, int64_t column) {
  for (; row + kTileRows <= end; row += kTileRows) matmul_tile<kTileRows, kVectors>(p, row, column);
  for (; row + 2 <= end; row += 2) matmul_tile<2, kVectors>(p, row, column);
  if (row < end) matmul_tile<1, kVectors>(p, row, column);
  return kVectors * kVectorLanes;
}

// Rows [row, end) of the columns from `column` on, at most one panel of them.
inline constexpr int64_t kPanel = kTileVectors * kVectorLanes;

static void matmul_panel(const Matmul& p, int64_t row, int64_t end, int64_t column) {
  const int64_t stop = column + kPanel < p.k ? column + kPanel : p.k;
  if (stop - column == kPanel) column += matmul_columns<kTileVectors>(p, row, end, column);
  if (stop - column >= 2 * kVectorLanes) column += matmul_columns<2>(p, row, end, column);
  if (stop - column >= kVectorLanes) column += matmul_columns<1>(p, row, end, column);
  if (column < stop)
    for (; row < end; ++row) matmul_rest(p, row, column);
}

// In the calling thread.
static inline void matmul(const Matmul& p) {
  for (int64_t column = 0; column < p.k; column += kPanel) matmul_panel(p, 0, p.m, column);
}

// By the team.
static inline void matmul(const Stream& stream, const Matmul& p) {
  constexpr int64_t kRows = 8 * kTileRows;
  const int64_t blocks = (p.m + kRows - 1) / kRows, panels = (p.k + kPanel - 1) / kPanel;
  parallel_for(stream, blocks * panels, grain_of(p.c * kPanel * (p.m < kRows ? p.m : kRows) / 8),
               [&](int64_t begin, int64_t end) {
                 for (int64_t item = begin; item < end; ++item) {
                   const int64_t row = item % blocks * kRows;
                   matmul_panel(p, row, row + kRows < p.m ? row + kRows : p.m, item / blocks * kPanel);
                 }
               });
}

// to [columns, rows] = from [rows, columns] transposed: `columns`, at most a strip, in squares that stay in the cache.
inline constexpr int64_t kStrip = 16;

static inline void transpose_strip(const float* from, int64_t from_row, int64_t rows, int64_t columns, float* to,
                                   int64_t to_row) {
  for (int64_t first = 0; first < rows; first += kStrip) {
    const int64_t end = first + kStrip < rows ? first + kStrip : rows;
    for (int64_t column = 0; column < columns; ++column)
      for (int64_t row = first; row < end; ++row) to[column * to_row + row] = from[row * from_row + column];
  }
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
