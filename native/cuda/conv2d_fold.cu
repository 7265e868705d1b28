// Sums of a filter's weights for the four phases of a convolution of an enlarged image (conv2d_fold.cuh).
//
// Bytes: 9 · C · K read four times in all, from the caches, 16 · C · K written; a thread makes one sum.
#include <algorithm>

#include "cuda/conv2d_fold.cuh"

namespace diffusion::cuda {
namespace {

inline constexpr int kThreads = 256;

KERNEL(kThreads)
fold_weight_kernel(const Bf16* weight, int64_t plane, Bf16* folded) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; at < 16 * plane; at += step) {
    const int tap = static_cast<int>(at / plane), p = tap / 8, q = tap / 4 % 2, a = tap / 2 % 2, b = tap % 2;
    const Bf16* const from = weight + (at - tap * plane);
    float sum = 0;
#pragma unroll
    for (int r = 0; r < 3; ++r)
#pragma unroll
      for (int s = 0; s < 3; ++s)
        if (folded_tap(p, r) == a && folded_tap(q, s) == b) sum += widen(from[(r * 3 + s) * plane]);
    folded[at] = to_bf16(sum);
  }
}

}  // namespace

const Bf16* fold_weight(Stream& stream, const char* operation, const Bf16* weight, int64_t c, int64_t k) {
  Bf16* const folded = static_cast<Bf16*>(stream.scratch(1, static_cast<size_t>(16 * c * k) * sizeof(Bf16)));
  const int64_t blocks = std::min<int64_t>((16 * c * k + kThreads - 1) / kThreads, 4096);
  LAUNCH((fold_weight_kernel), dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream.handle, weight, c * k,
         folded);
  check_launch(operation);
  return folded;
}

}  // namespace diffusion::cuda
