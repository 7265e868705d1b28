// Y [M, K] = A [M, C] · B [C, K] + bias + addend with a fixed order of additions: every element is one chain over c, so
// its bits depend neither on M nor on how the work is divided.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "cpu/ops.h"

namespace diffusion::cpu::DIFFUSION_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kPanelVectors = 4, kTileRows = 6;
#elif defined(__AVX__)
constexpr int kLanes = 8, kPanelVectors = 2, kTileRows = 6;
#else
constexpr int kLanes = 4, kPanelVectors = 2, kTileRows = 4;
#endif
constexpr int kPanel = kLanes * kPanelVectors;  // columns of one tile

typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

static inline Lanes load(const float* from) {
  Lanes v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
static inline void store(float* to, Lanes v) { std::memcpy(to, &v, sizeof v); }

// a·b + c, rounded once where the instruction set can: the scalar form has the bits of the vector form.
static inline float multiply_add(float a, float b, float c) {
#if defined(__FMA__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
static inline Lanes multiply_add(float a, Lanes b, Lanes c) {
#if defined(__AVX512F__)
  return (Lanes)_mm512_fmadd_ps(_mm512_set1_ps(a), (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (Lanes)_mm256_fmadd_ps(_mm256_set1_ps(a), (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

struct MatmulArguments {
  int64_t m, c, k;
  const float *a, *b;          // [M, C], [C, K]
  const float *bias, *addend;  // [K], [M, K]; may be null
  float* y;                    // [M, K]
};

template <int kRows>
static void matmul_tile(const MatmulArguments& p, int64_t row, int64_t column) {
  Lanes sum[kRows][kPanelVectors] = {};
  const float* a = p.a + row * p.c;
  const float* b = p.b + column;
  for (int64_t c = 0; c < p.c; ++c) {
    Lanes panel[kPanelVectors];
    for (int v = 0; v < kPanelVectors; ++v) panel[v] = load(b + c * p.k + v * kLanes);
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kPanelVectors; ++v) sum[r][v] = multiply_add(a[r * p.c + c], panel[v], sum[r][v]);
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kPanelVectors; ++v) {
      const int64_t k = column + v * kLanes, at = (row + r) * p.k + k;
      Lanes y = sum[r][v];
      if (p.bias) y += load(p.bias + k);
      if (p.addend) y += load(p.addend + at);
      store(p.y + at, y);
    }
}

// The columns that do not fill a panel.
static inline void matmul_rest(const MatmulArguments& p, int64_t row, int64_t column, int64_t columns) {
  float sum[kPanel] = {};
  const float* a = p.a + row * p.c;
  for (int64_t c = 0; c < p.c; ++c) {
    const float* b = p.b + c * p.k + column;
    for (int64_t i = 0; i < columns; ++i) sum[i] = multiply_add(a[c], b[i], sum[i]);
  }
  for (int64_t i = 0; i < columns; ++i) {
    const int64_t at = row * p.k + column + i;
    float y = sum[i];
    if (p.bias) y += p.bias[column + i];
    if (p.addend) y += p.addend[at];
    p.y[at] = y;
  }
}

static void matmul_panel(const MatmulArguments& p, int64_t row, int64_t end, int64_t column) {
  if (p.k - column < kPanel) {
    for (; row < end; ++row) matmul_rest(p, row, column, p.k - column);
    return;
  }
  for (; row + kTileRows <= end; row += kTileRows) matmul_tile<kTileRows>(p, row, column);
  for (; row + 2 <= end; row += 2) matmul_tile<2>(p, row, column);
  if (row < end) matmul_tile<1>(p, row, column);
}

static void matmul(const MatmulArguments& p) {
  constexpr int64_t kRowBlock = 8 * kTileRows, kParallelSize = 1 << 16;
  const int64_t panels = (p.k + kPanel - 1) / kPanel, blocks = (p.m + kRowBlock - 1) / kRowBlock;
#pragma omp parallel for collapse(2) schedule(static) if (p.m * p.c * p.k >= kParallelSize)
  for (int64_t block = 0; block < blocks; ++block)
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t row = block * kRowBlock;
      matmul_panel(p, row, row + kRowBlock < p.m ? row + kRowBlock : p.m, panel * kPanel);
    }
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
