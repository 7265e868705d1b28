// Sums in a fixed order: the order of additions depends on the length alone, never on the grid or on other samples.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/runtime/stream.h"
#include "cuda/simt.h"

namespace diffusion::cuda {

inline constexpr int kWarp = 32;

// The sum of `value` over the kThreads threads of the block (one dimension, whole warps), the same in all of them.
// `shared` holds kThreads / 32 values. May be called again at once with the same array: the first barrier keeps a fast
// warp from overwriting the sums that a slow one is still reading; the second lets all see them.
template <int kThreads, class T>
DEVICE T block_sum(T value, T* shared) {
  static_assert(kThreads % kWarp == 0);
  for (int offset = kWarp / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  T sum = shared[0];
  for (int warp = 1; warp < kThreads / kWarp; ++warp) sum += shared[warp];
  return sum;
}

inline constexpr int kSumThreads = 256;
inline constexpr int64_t kSumBlock = 8192;  // elements that one block sums
inline constexpr int64_t kSumGrid = 4096;   // blocks of a launch at most; each then takes several items

inline int64_t sum_blocks(int64_t length) { return std::max<int64_t>(1, (length + kSumBlock - 1) / kSumBlock); }

// partial[s, b] = Σ term(i) over block b of segment s
template <class Term>
KERNEL(kSumThreads)
sum_partial_kernel(Term term, int64_t segments, int64_t length, int64_t blocks, double* partial) {
  DYN_SMEM(double, shared);
  for (int64_t item = blockIdx.x; item < segments * blocks; item += gridDim.x) {
    const int64_t start = item / blocks * length, first = item % blocks * kSumBlock;
    const int64_t last = first + kSumBlock < length ? first + kSumBlock : length;
    double sum = 0.0;
    for (int64_t i = first + threadIdx.x; i < last; i += kSumThreads) sum += term(start + i);
    sum = block_sum<kSumThreads>(sum, shared);
    if (threadIdx.x == 0) partial[item] = sum;
  }
}

// finish(s, Σ_b partial[s, b])
template <class Finish>
KERNEL(kSumThreads)
sum_finish_kernel(Finish finish, int64_t segments, int64_t blocks, const double* partial) {
  DYN_SMEM(double, shared);
  for (int64_t segment = blockIdx.x; segment < segments; segment += gridDim.x) {
    double sum = 0.0;
    for (int64_t block = threadIdx.x; block < blocks; block += kSumThreads) sum += partial[segment * blocks + block];
    sum = block_sum<kSumThreads>(sum, shared);
    if (threadIdx.x == 0) finish(segment, sum);
  }
}

// finish(s, Σ term(i) over the i of segment s, [s·length, (s + 1)·length)) in float64: two launches, scratch slot 0.
template <class Term, class Finish>
void sum_segments(Stream& stream, const char* operation, int64_t segments, int64_t length, const Term& term,
                  const Finish& finish) {
  if (segments == 0) return;
  constexpr size_t kShared = kSumThreads / kWarp * sizeof(double);
  const int64_t blocks = sum_blocks(length);
  auto* partial = static_cast<double*>(stream.scratch(0, segments * blocks * sizeof(double)));
  const dim3 items(static_cast<unsigned>(std::min(kSumGrid, segments * blocks)));
  LAUNCH((sum_partial_kernel<Term>), items, dim3(kSumThreads), kShared, stream.handle, term, segments, length, blocks,
         partial);
  check_launch(operation);
  const dim3 grid(static_cast<unsigned>(std::min(kSumGrid, segments)));
  LAUNCH((sum_finish_kernel<Finish>), grid, dim3(kSumThreads), kShared, stream.handle, finish, segments, blocks,
         partial);
  check_launch(operation);
}

}  // namespace diffusion::cuda
