// Kernels over the rows of a tensor, a thread for every run of n elements, 16 bytes of the widest operand: what most
// operations without sums are made of.
//
// A run begins at a multiple of n within its row, so where rows are samples and n is four, it is one counter of
// core/random.h. Rows and runs are strides of a two-dimensional grid: no division is needed to know where an element
// lies.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/view.h"
#include "cuda/pack.cuh"
#include "cuda/runtime/stream.h"
#include "cuda/simt.h"

namespace diffusion::cuda {

// Whether every whole run of rows of `width` elements can be accessed at once in these arrays (absent ones can).
template <int n = 4, class... T>
bool whole_runs(int64_t rows, int64_t width, const T*... data) {
  return (rows == 1 || width % n == 0) && ((reinterpret_cast<uintptr_t>(data) % alignof(Pack<T, n>) == 0) && ...);
}

inline constexpr int kRunThreads = 256;

struct RunShape {
  dim3 grid, block;
};

// Narrow rows share a block; one row is a grid and blocks of one dimension. The grid is bounded: 4096 blocks are
// several for every place on the largest GPU. Many rows leave few blocks to each, so that what a thread knows of its
// row serves several runs.
inline RunShape run_shape(int64_t rows, int64_t width, int n) {
  constexpr int64_t kBlocks = 4096;
  const int64_t runs = (width + n - 1) / n;
  int64_t across = 1;
  while (across < runs && across < kRunThreads) across *= 2;
  const int64_t down = std::min(rows, kRunThreads / across);
  const int64_t lines = std::min(kBlocks, (rows + down - 1) / down);
  const int64_t columns = std::min(std::max<int64_t>(1, kBlocks / lines), (runs + across - 1) / across);
  return {dim3(static_cast<unsigned>(columns), static_cast<unsigned>(lines)),
          dim3(static_cast<unsigned>(across), static_cast<unsigned>(down))};
}

template <int n, class F>
KERNEL(kRunThreads)
run_kernel(F f, int64_t rows, int64_t width) {
  const int64_t down = static_cast<int64_t>(gridDim.y) * blockDim.y;
  const int64_t across = static_cast<int64_t>(n) * gridDim.x * blockDim.x;
  const int64_t begin = n * (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x);
  for (int64_t row = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows; row += down) {
    if constexpr (requires { f.of_row(row); }) {
      const auto known = f.of_row(row);
      for (int64_t i = begin; i < width; i += across) f(known, row, i, static_cast<int>(width - i < n ? width - i : n));
    } else {
      for (int64_t i = begin; i < width; i += across) f(row, i, static_cast<int>(width - i < n ? width - i : n));
    }
  }
}

// f(row, first element, count) for every run; or f(f.of_row(row), row, first element, count) where f has of_row. Runs
// are independent of each other: any order, any thread.
template <int n = 4, class F>
void for_runs(Stream& stream, const char* operation, int64_t rows, int64_t width, const F& f) {
  if (rows == 0 || width == 0) return;
  const RunShape shape = run_shape(rows, width, n);
  LAUNCH((run_kernel<n, F>), shape.grid, shape.block, 0, stream.handle, f, rows, width);
  check_launch(operation);
}

// The elements of a sample; 0 where there are no samples.
inline int64_t sample_size(const View& x) { return x.size() == 0 ? 0 : x.per_sample(); }

}  // namespace diffusion::cuda
