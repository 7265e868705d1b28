// Kernels in which a team of threads goes through a row of the last axis several times: a warp, or for long rows a
// block.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/view.h"
#include "cuda/pack.cuh"
#include "cuda/reduce.cuh"

namespace diffusion::cuda {

inline constexpr int kTeamThreads = 256;
inline constexpr int64_t kLongRow = 2048;  // elements from which on a row has a block

// `size` threads: 32 or kTeamThreads.
template <int size>
struct Team {
  double* shared;  // one for each warp of the block

  DEVICE int lane() const { return static_cast<int>(threadIdx.x) % size; }

  DEVICE double sum(double value) const {
    if constexpr (size == kTeamThreads) {
      return block_sum<kTeamThreads>(value, shared);
    } else {
      for (int offset = kWarp / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);
      return value;
    }
  }

  // A NaN may be lost.
  DEVICE float max(float value) const {
    for (int offset = kWarp / 2; offset > 0; offset /= 2)
      value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, offset));
    if constexpr (size == kTeamThreads) {
      __syncthreads();  // the last use of `shared` is over
      if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = static_cast<double>(value);
      __syncthreads();
      for (int warp = 0; warp < kTeamThreads / kWarp; ++warp) value = fmaxf(value, static_cast<float>(shared[warp]));
    }
    return value;
  }

  // f(first element, count) for the lane's runs of n elements of a row.
  template <int n, class F>
  DEVICE void for_runs(int64_t width, const F& f) const {
    for (int64_t i = static_cast<int64_t>(n) * lane(); i < width; i += n * size)
      f(i, static_cast<int>(width - i < n ? width - i : n));
  }
};

template <int size, class F>
KERNEL(kTeamThreads, 2)
team_kernel(F f, int64_t rows) {
  DYN_SMEM(double, shared);
  constexpr int kTeams = kTeamThreads / size;
  const Team<size> team{shared};
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kTeams + threadIdx.x / size; row < rows;
       row += static_cast<int64_t>(gridDim.x) * kTeams)
    f(team, row);
}

// f(team, row) for every row, each with a warp.
template <class F>
void for_warps(Stream& stream, const char* operation, int64_t rows, const F& f) {
  if (rows == 0) return;
  constexpr int kWarps = kTeamThreads / kWarp;
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(4096, (rows + kWarps - 1) / kWarps));
  LAUNCH((team_kernel<kWarp, F>), dim3(blocks), dim3(kTeamThreads), kWarps * sizeof(double), stream.handle, f, rows);
  check_launch(operation);
}

// The same for rows of `width` elements, with a block each where they are long.
template <class F>
void for_teams(Stream& stream, const char* operation, int64_t rows, int64_t width, const F& f) {
  if (rows == 0 || width == 0) return;
  if (width < kLongRow) return for_warps(stream, operation, rows, f);
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(4096, rows));
  LAUNCH((team_kernel<kTeamThreads, F>), dim3(blocks), dim3(kTeamThreads), kTeamThreads / kWarp * sizeof(double),
         stream.handle, f, rows);
  check_launch(operation);
}

// Whether the rows of all these arrays are whole runs of n elements.
template <int n, class... T>
bool whole_rows(int64_t width, const T*... data) {
  return width % n == 0 && ((reinterpret_cast<uintptr_t>(data) % alignof(Pack<T, n>) == 0) && ...);
}

}  // namespace diffusion::cuda
