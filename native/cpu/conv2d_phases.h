// Convolutions 3×3 of an image that is enlarged by nearest neighbours, without the enlarged image. Three rows of that
// are two rows of the small one, so of each 2×2 results every one has a 2×2 filter of its own, whose taps are sums of
// the given ones: 4/9 of the arithmetic. Each of the four phases is a convolution of the small image.
#pragma once

#include <algorithm>
#include <cstring>

#include "core/ops/conv2d.h"
#include "cpu/float_types.h"
#include "cpu/runtime/primitives.h"

namespace diffusion::cpu::DIFFUSION_ISA {

inline constexpr int64_t kPhases = 4;
inline constexpr int64_t kSumRun = 256;  // elements whose sums lie on the stack

template <class Op>
bool by_phases(const Op& op, const Conv2dGeometry& g) {
  return op.upsample && g.r == 3 && g.s == 3 && op.stride == 1 && op.pad_top == 1 && op.pad_left == 1 &&
         op.pad_bottom == 1 && op.pad_right == 1;
}

// Row and column of a phase's results in their 2×2.
struct Phase {
  int64_t row, column;
  explicit Phase(int64_t index) : row(index / 2), column(index % 2) {}
};

inline Convolution phase_convolution(const Conv2dGeometry& g, int64_t c, int64_t index, Precision precision) {
  const Phase phase(index);
  const int64_t h = g.h / 2, w = g.w / 2;
  return {g.n,          h,        w, c, h, w, g.k, 2, 2, g.c1 + g.c2, 1, 1 - phase.row, 1 - phase.column, phase.row,
          phase.column, precision};
}

// The taps of the 3 that meet in one of the 2: [first, last].
struct Taps {
  int64_t first, last;
  Taps(int64_t phase, int64_t tap) : first(tap == 0 ? 0 : 1 + phase), last(tap == 0 ? phase : 2) {}
};

// to [2, 2, size] = a phase's filter of weight [3, 3, size], summed in f32.
template <class T>
void sum_taps(const Stream& stream, const T* weight, int64_t size, int64_t index, T* to) {
  const Phase phase(index);
  for (int64_t u = 0; u < 2; ++u)
    for (int64_t v = 0; v < 2; ++v, to += size) {
      const Taps rows(phase.row, u), columns(phase.column, v);
      parallel_elements(stream, size, [=](int64_t begin, int64_t end) {
        for (int64_t first = begin; first < end; first += kSumRun) {
          float sum[kSumRun] = {};
          const int64_t count = std::min(kSumRun, end - first);
          for (int64_t r = rows.first; r <= rows.last; ++r)
            for (int64_t s = columns.first; s <= columns.last; ++s) {
              const T* from = weight + (3 * r + s) * size + first;
#pragma omp simd
              for (int64_t i = 0; i < count; ++i) sum[i] += widen(from[i]);
            }
#pragma omp simd
          for (int64_t i = 0; i < count; ++i) to[first + i] = convert<T>(sum[i]);
        }
      });
    }
}

// dweight [3, 3, size] (+)= what the gradients [4, 2, 2, size] of the phases' filters say.
inline void spread_taps(const Stream& stream, const float* phases, int64_t size, bool accumulate, float* dweight) {
  parallel_elements(stream, size, [=](int64_t begin, int64_t end) {
    for (int64_t r = 0; r < 3; ++r)
      for (int64_t s = 0; s < 3; ++s) {
        // For each phase the tap that (r, s) went into.
        const float* part[kPhases];
        for (int64_t index = 0; index < kPhases; ++index) {
          const Phase phase(index);
          const int64_t u = r > phase.row, v = s > phase.column;
          part[index] = phases + ((index * 2 + u) * 2 + v) * size;
        }
        float* const to = dweight + (3 * r + s) * size;
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) {
          const float sum = (part[0][i] + part[1][i]) + (part[2][i] + part[3][i]);
          to[i] = accumulate ? to[i] + sum : sum;
        }
      }
  });
}

// to [4, N, H, W, bytes] = from [N, 2H, 2W, bytes] sorted by phases.
inline void sort_by_phases(const Stream& stream, const char* from, int64_t n, int64_t h, int64_t w, size_t bytes,
                           char* to) {
  parallel_for(stream, kPhases * n * h, grain_of(w * static_cast<int64_t>(bytes / sizeof(float))),
               [=](int64_t begin, int64_t end) {
                 for (int64_t row = begin; row < end; ++row) {
                   const Phase phase(row / (n * h));
                   const int64_t line = row % (n * h);  // n·h + i
                   for (int64_t j = 0; j < w; ++j)
                     std::memcpy(to + (row * w + j) * bytes,
                                 from + ((2 * line + phase.row) * 2 * w + 2 * j + phase.column) * bytes, bytes);
                 }
               });
}

// y = the sum of the four parts [4, size].
template <class T>
void add_phases(const Stream& stream, const float* parts, int64_t size, T* y) {
  parallel_elements(stream, size, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i)
      y[i] = convert<T>((parts[i] + parts[i + size]) + (parts[i + 2 * size] + parts[i + 3 * size]));
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
