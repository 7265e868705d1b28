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

// True in the block that arrives last of its launch, for which what thread 0 of every block wrote before is there to be
// read through `volatile`. The word at `arrivals` is 0 before and after; `shared` is one word of the block.
DEVICE bool is_last_block(unsigned* arrivals, unsigned* shared) {
  if (threadIdx.x == 0) {
    __threadfence();                                                // the writes before the count
    *shared = atomicInc(arrivals, gridDim.x - 1) == gridDim.x - 1;  // then from 0 again
    __threadfence();                                                // the reads after it
  }
  __syncthreads();
  return *shared != 0;
}

inline constexpr int kSumThreads = 256;
inline constexpr int64_t kSumBlock = 8192;  // elements that one block sums
inline constexpr int64_t kSumGrid = 4096;   // blocks of a launch at most; each then takes several items
inline constexpr size_t kSumShared = (kSumThreads / kWarp + 1) * sizeof(double);

inline int64_t sum_blocks(int64_t length) { return std::max<int64_t>(1, (length + kSumBlock - 1) / kSumBlock); }

// finish(s, Σ_b partial[s, b])
template <class Finish>
DEVICE void finish_segment(const Finish& finish, int64_t segment, int64_t blocks, const double* partial,
                           double* shared) {
  const volatile double* of_segment = partial + segment * blocks;
  double sum = 0.0;
  for (int64_t block = threadIdx.x; block < blocks; block += kSumThreads) sum += of_segment[block];
  sum = block_sum<kSumThreads>(sum, shared);
  if (threadIdx.x == 0) finish(segment, sum);
}

// Blocks that a multiprocessor shall hold, which bounds the registers; 0: as ptxas likes.
template <class Term>
constexpr int places_of() {
  if constexpr (requires { Term::kPlaces; })
    return Term::kPlaces;
  else
    return 0;
}

// partial[s, b] = Σ term over block b of segment s. Where one block sums a segment, or the segment is the only one,
// this finishes it too: the block that ends last adds what all have left, in their order.
template <class Term, class Finish>
KERNEL(kSumThreads, places_of<Term>())
sum_kernel(Term term, Finish finish, int64_t segments, int64_t length, int64_t blocks, double* partial,
           unsigned* arrivals) {
  DYN_SMEM(double, shared);
  constexpr int n = Term::n;
  for (int64_t item = blockIdx.x; item < segments * blocks; item += gridDim.x) {
    const int64_t segment = item / blocks, first = item % blocks * kSumBlock;
    const int64_t last = first + kSumBlock < length ? first + kSumBlock : length;
    double sum = 0.0;
    for (int64_t i = first + n * threadIdx.x; i < last; i += n * kSumThreads)
      sum += term(segment, i, static_cast<int>(last - i < n ? last - i : n));
    sum = block_sum<kSumThreads>(sum, shared);
    if (threadIdx.x != 0) continue;
    if (blocks == 1)
      finish(item, sum);
    else
      partial[item] = sum;
  }
  if (blocks == 1 || segments > 1) return;
  if (is_last_block(arrivals, reinterpret_cast<unsigned*>(shared + kSumThreads / kWarp)))
    finish_segment(finish, 0, blocks, partial, shared);
}

template <class Finish>
KERNEL(kSumThreads)
sum_finish_kernel(Finish finish, int64_t segments, int64_t blocks, const double* partial) {
  DYN_SMEM(double, shared);
  for (int64_t segment = blockIdx.x; segment < segments; segment += gridDim.x)
    finish_segment(finish, segment, blocks, partial, shared);
}

// finish(s, Σ term over the `length` elements of segment s) in float64. term(s, i, count) is the sum over its elements
// i … i + count − 1, at most Term::n of them, i a multiple of Term::n. One launch, or two for several segments of more
// than a block each; scratch slot 0.
template <class Term, class Finish>
void sum_segments(Stream& stream, const char* operation, int64_t segments, int64_t length, const Term& term,
                  const Finish& finish) {
  if (segments == 0) return;
  const int64_t blocks = sum_blocks(length);
  auto* partial = static_cast<double*>(stream.scratch(0, segments * blocks * sizeof(double)));
  const dim3 items(static_cast<unsigned>(std::min(kSumGrid, segments * blocks)));
  LAUNCH((sum_kernel<Term, Finish>), items, dim3(kSumThreads), kSumShared, stream.handle, term, finish, segments,
         length, blocks, partial, arrivals(stream));
  check_launch(operation);
  if (blocks == 1 || segments == 1) return;
  LAUNCH((sum_finish_kernel<Finish>), dim3(static_cast<unsigned>(std::min(kSumGrid, segments))), dim3(kSumThreads),
         kSumShared, stream.handle, finish, segments, blocks, partial);
  check_launch(operation);
}

}  // namespace diffusion::cuda
