// Kernels over the rows of a tensor, a thread for every run of four elements: what most operations without sums are
// made of.
//
// A run begins at a multiple of four within its row, so it is one counter of core/random.h when rows are samples, and
// 16 bytes of f32. Rows and runs are strides of a two-dimensional grid: no division is needed to know where an element
// lies.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/view.h"
#include "cuda/runtime/stream.h"
#include "cuda/simt.h"

namespace diffusion::cuda {

// Four elements in registers, read and written as one access of memory.
template <class T>
struct alignas(4 * sizeof(T)) Four {
  T at[4];
};

// The first `count` of four elements at `from`; the rest are zero. `whole` promises alignment when count is 4.
template <class T>
DEVICE Four<T> load(const T* from, int count, bool whole) {
  if (whole && count == 4) return *reinterpret_cast<const Four<T>*>(from);
  Four<T> four{};
  for (int k = 0; k < 4; ++k)
    if (k < count) four.at[k] = from[k];
  return four;
}

template <class T>
DEVICE void store(T* to, int count, bool whole, const Four<T>& four) {
  if (whole && count == 4) {
    *reinterpret_cast<Four<T>*>(to) = four;
    return;
  }
  for (int k = 0; k < 4; ++k)
    if (k < count) to[k] = four.at[k];
}

// Whether every whole run of rows of `width` elements can be accessed at once in these arrays (absent ones can).
template <class... T>
bool whole_runs(int64_t rows, int64_t width, const T*... data) {
  return (rows == 1 || width % 4 == 0) && ((reinterpret_cast<uintptr_t>(data) % (4 * sizeof(T)) == 0) && ...);
}

inline constexpr int kRunThreads = 256;

struct RunShape {
  dim3 grid, block;
};

// Narrow rows share a block; one row is a grid and blocks of one dimension. The grid is bounded: 4096 blocks are
// several for every place on the largest GPU.
inline RunShape run_shape(int64_t rows, int64_t width) {
  constexpr int64_t kBlocks = 4096;
  const int64_t runs = (width + 3) / 4;
  int64_t across = 1;
  while (across < runs && across < kRunThreads) across *= 2;
  const int64_t down = std::min(rows, kRunThreads / across);
  const int64_t columns = std::min(kBlocks, (runs + across - 1) / across);
  const int64_t lines = std::min(std::max<int64_t>(1, kBlocks / columns), (rows + down - 1) / down);
  return {dim3(static_cast<unsigned>(columns), static_cast<unsigned>(lines)),
          dim3(static_cast<unsigned>(across), static_cast<unsigned>(down))};
}

template <class F>
KERNEL(kRunThreads)
run_kernel(F f, int64_t rows, int64_t width) {
  const int64_t down = static_cast<int64_t>(gridDim.y) * blockDim.y, across = 4ll * gridDim.x * blockDim.x;
  for (int64_t row = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows; row += down)
    for (int64_t i = 4 * (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x); i < width; i += across)
      f(row, i, static_cast<int>(width - i < 4 ? width - i : 4));
}

// f(row, first element, count) for every run. Runs are independent of each other: any order, any thread.
template <class F>
void for_runs(Stream& stream, const char* operation, int64_t rows, int64_t width, const F& f) {
  if (rows == 0 || width == 0) return;
  const RunShape shape = run_shape(rows, width);
  LAUNCH((run_kernel<F>), shape.grid, shape.block, 0, stream.handle, f, rows, width);
  check_launch(operation);
}

// The elements of a sample; 0 where there are no samples.
inline int64_t sample_size(const View& x) { return x.size() == 0 ? 0 : x.per_sample(); }

}  // namespace diffusion::cuda
