// Scaled dot-product attention forward in bf16 on tensor cores (Dao et al. 2022; core/ops/attention.h).
//   with s = scale·log2(e)·q·k, tile by tile of keys j:
//             m' = max(m, s),  l = l·2^(m − m') + Σ 2^(s − m'),  o = o·2^(m − m') + 2^(s − m')·v
//             y = o/l,  lse = ln 2·(m + log2 l)
//   Shapes    q, k, v, y [N, L, heads·D], any L and D ≤ 256     lse f32 [N, heads, L]
//   Blocks    one a (sample, head, 64 queries): four warps of 16 queries; scores, weights and o stay in registers
//   Bytes     a block reads k and v of its head once: (L/64)·L·D·4 bytes a head, mostly from L2. The next keys arrive
//             while the weights are multiplied with values, the values while queries are multiplied with keys.
//   Sums in f32, weights rounded to bf16 for their product with values, y rounded once. Run on the emulator; never on
//   a GPU.
#include "cuda/attention_mma.cuh"

namespace diffusion::cuda::attention_mma {
namespace {

// Keys of a step. The widest tiles take fewer: 64 KB of shared memory instead of 96, so that two blocks run beside each
// other.
template <int kWidth>
constexpr int kKeys = kWidth <= 128 ? 64 : 32;

template <int kWidth>
constexpr size_t kSharedBytes = (kRows + 2 * kKeys<kWidth>)*kWidth * sizeof(Bf16);

// Of the rows g and g + 8 of a warp: the largest score so far, and what this lane's columns add to the sum of weights.
struct Softmax {
  float most[2] = {-kInfinity, -kInfinity}, total[2] = {0, 0};
};

// Scores of keys from `key` on become weights; the result so far is scaled to the new maximum.
template <int kColumns, int kWidth>
DEVICE void to_weights(Softmax& softmax, float (&s)[kColumns / 8][4], float factor, int64_t keys_left,
                       float (&result)[kWidth / 8][4]) {
  const int t = 2 * (lane() % 4);
  const bool whole = keys_left >= kColumns;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = softmax.most[half];
#pragma unroll
    for (int i = 0; i < kColumns / 4; ++i) {
      float& score = s[i / 2][2 * half + i % 2];
      score = whole || i / 2 * 8 + t + i % 2 < keys_left ? score * factor : -kInfinity;
      top = fmaxf(top, score);
    }
    top = across_row(top, [](float a, float b) { return fmaxf(a, b); });
    const float shrink = power_of_two(softmax.most[half] - top);
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kColumns / 4; ++i) {
      float& score = s[i / 2][2 * half + i % 2];
      score = power_of_two(score - top);
      sum += score;
    }
    softmax.most[half] = top;
    softmax.total[half] = fmaf(softmax.total[half], shrink, sum);
#pragma unroll
    for (int i = 0; i < kWidth / 4; ++i) result[i / 2][2 * half + i % 2] *= shrink;
  }
}

template <int kWidth>
KERNEL(kThreads)
forward_kernel(AttentionShape s, const Bf16* q, const Bf16* k, const Bf16* v, Bf16* y, float* lse) {
  DYN_SMEM(Bf16, shared);
  constexpr int kColumns = kKeys<kWidth>;
  constexpr bool kHold = kWidth <= 128;  // the queries in registers
  Bf16 *const queries = shared, *const keys = queries + kRows * kWidth, *const values = keys + kColumns * kWidth;
  const int64_t item = s.first_item + blockIdx.x;
  const int64_t index = item / s.tiles, first = item % s.tiles * kRows;
  const Head<Bf16> key_head = s.head(k, index), value_head = s.head(v, index);
  load_tile<kRows, kWidth>(queries, s.head(q, index), first);
  load_tile<kColumns, kWidth>(keys, key_head, 0);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  load_tile<kColumns, kWidth>(values, value_head, 0);
  cp_async_commit();
  uint32_t held[kHold ? kWidth / 16 : 1][4];
  if constexpr (kHold)
#pragma unroll
    for (int c = 0; c < kWidth / 16; ++c) left_factor<kWidth>(queries, c, held[c]);
  float result[kWidth / 8][4] = {};
  Softmax softmax;
#pragma unroll 1
  for (int64_t key = 0; key < s.l; key += kColumns) {
    float p[kColumns / 8][4] = {};
    if constexpr (kHold)
#pragma unroll
      for (int c = 0; c < kWidth / 16; ++c) multiply_rows<kColumns, kWidth>(held[c], keys, c, p);
    else
      products<kColumns, kWidth>(queries, keys, p);
    cp_async_wait<0>();
    __syncthreads();  // values have come, keys are no longer in use
    if (key + kColumns < s.l) load_tile<kColumns, kWidth>(keys, key_head, key + kColumns);
    cp_async_commit();
    to_weights<kColumns, kWidth>(softmax, p, s.scale * kLog2E, s.l - key, result);
    accumulate<kColumns, kWidth>(p, values, result);
    cp_async_wait<0>();
    __syncthreads();  // keys have come, values are no longer in use
    if (key + kColumns < s.l) load_tile<kColumns, kWidth>(values, value_head, key + kColumns);
    cp_async_commit();
  }
  const int row = warp_row() + lane() / 4;
  float total[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    total[half] = across_row(softmax.total[half], [](float a, float b) { return a + b; });
    const int64_t query = first + row + 8 * half;
    if (lane() % 4 == 0 && query < s.l) lse[index * s.l + query] = kLn2 * (softmax.most[half] + log2f(total[half]));
  }
  store_result<kWidth>(queries, s.head(q, index), y + s.at(index), first, result, 1.0f / total[0], 1.0f / total[1]);
}

}  // namespace

void forward(Stream& stream, const Attention& op) {
  AttentionShape s(op.q, op.heads, op.scale, kMaxWidth);
  s.find_vectors(kOctet, {op.q, op.k, op.v, op.y});
  dispatch_width(s.d, [&]<int kWidth>() {
    allow_shared("attention", forward_kernel<kWidth>, kSharedBytes<kWidth>);
    launches(s, [&](unsigned blocks) {
      LAUNCH((forward_kernel<kWidth>), blocks, kThreads, kSharedBytes<kWidth>, stream.handle, s, op.q.as<Bf16>(),
             op.k.as<Bf16>(), op.v.as<Bf16>(), op.y.as<Bf16>(), op.lse.f32());
    });
  });
  check_launch("attention");
}

}  // namespace diffusion::cuda::attention_mma
