// Gradients of scaled dot-product attention in bf16 on tensor cores (Dao et al. 2022; core/ops/attention.h).
//   p = 2^(scale·log2(e)·q·k − log2(e)·lse),  ds = p·(dy·v − delta),  delta = dy·y
//   dq = scale·Σ_j ds·k     dk = scale·Σ_i ds·q     dv = Σ_i p·dy
//   Shapes    q, k, v, dy and the gradients [N, L, heads·D], any L and D ≤ 256     lse, delta f32 [N, heads, L]
//   Blocks    one a (sample, head, 64 rows): queries for dq, keys for dk and dv, which makes the weights again. No
//             atomics: an order that depends on L alone. Registers hold dk and dv together up to D = 128; beyond that
//             each has a launch of its own: eight products of L × L × D instead of seven.
//   Bytes     a block reads k and v (q and dy) of its head once, mostly from L2, one tile ahead of the one in use
//   Sums in f32, p and ds rounded to bf16 for their products, gradients rounded once. Run on the emulator; never on a
//   GPU.
#include "cuda/attention_mma.cuh"

namespace diffusion::cuda::attention_mma {
namespace {

enum class Gradient { query, key, value, key_and_value };

template <int kWidth>
constexpr int kColumnsOf = kWidth <= 64    ? 64
                           : kWidth <= 128 ? 32
                                           : 16;

// Rows of a block: queries and dy for dq, keys and values for dk and dv. The columns are the others.
template <int kWidth>
struct Shared {
  static constexpr int kColumns = kColumnsOf<kWidth>;
  struct Stage {
    Bf16 one[kColumns * kWidth], two[kColumns * kWidth];
  };
  Bf16 one[kRows * kWidth], two[kRows * kWidth];
  Stage stages[2];
  float lse[2][kColumns], delta[2][kColumns];  // of the columns, where they are queries; lse in powers of two
};

struct Operands {
  const Bf16 *dy, *q, *k, *v;
  const float *lse, *delta;
};

// One of the values of a tile's queries that a thread fetches: lse for the first threads, delta for the next. A query
// beyond the end gets the weight 2^-∞.
template <int kColumns>
DEVICE float statistic(const float* lse, const float* delta, int64_t query, int64_t l) {
  const int i = static_cast<int>(threadIdx.x);
  const int64_t at = query + i % kColumns;
  if (i >= 2 * kColumns) return 0;
  if (at >= l) return i < kColumns ? kInfinity : 0.0f;
  return i < kColumns ? lse[at] * kLog2E : delta[at];
}

template <Gradient gradient, int kWidth>
KERNEL(kThreads)
gradient_kernel(AttentionShape s, Operands in, Bf16* first_to, Bf16* second_to) {
  DYN_SMEM(Shared<kWidth>, shared);
  constexpr int kColumns = kColumnsOf<kWidth>;
  constexpr bool kOfQueries = gradient == Gradient::query;
  constexpr bool kScores = gradient != Gradient::value;  // whether Σ ds·column is asked for
  constexpr bool kWeights = gradient == Gradient::value || gradient == Gradient::key_and_value;  // Σ p·dy
  static_assert(2 * kColumns <= kThreads);
  const int t = 2 * (lane() % 4), thread = static_cast<int>(threadIdx.x);
  const float factor = s.scale * kLog2E;
  const int64_t item = s.first_item + blockIdx.x;
  const int64_t index = item / s.tiles, first = item % s.tiles * kRows;
  const Head<Bf16> one = s.head(kOfQueries ? in.k : in.q, index), two = s.head(kOfQueries ? in.v : in.dy, index);
  const float *lse = in.lse + index * s.l, *delta = in.delta + index * s.l;
  const auto load_columns = [&](int stage, int64_t column) {
    load_tile<kColumns, kWidth>(shared->stages[stage].one, one, column);
    load_tile<kColumns, kWidth>(shared->stages[stage].two, two, column);
  };
  const auto store_statistic = [&](int stage, float value) {
    if (thread < 2 * kColumns) (thread < kColumns ? shared->lse : shared->delta)[stage][thread % kColumns] = value;
  };
  load_tile<kRows, kWidth>(shared->one, s.head(kOfQueries ? in.q : in.k, index), first);
  if constexpr (kScores) load_tile<kRows, kWidth>(shared->two, s.head(kOfQueries ? in.dy : in.v, index), first);
  load_columns(0, 0);
  cp_async_commit();
  float row_lse[2] = {0, 0}, row_delta[2] = {0, 0};
  if constexpr (kOfQueries) {
    for (int half = 0; half < 2; ++half)
      if (const int64_t query = first + warp_row() + lane() / 4 + 8 * half; query < s.l)
        row_lse[half] = lse[query] * kLog2E, row_delta[half] = delta[query];
  } else {
    store_statistic(0, statistic<kColumns>(lse, delta, 0, s.l));
  }
  float of_scores[kScores ? kWidth / 8 : 1][4] = {}, of_weights[kWeights ? kWidth / 8 : 1][4] = {};
  int stage = 0;
#pragma unroll 1
  for (int64_t column = 0; column < s.l; column += kColumns, stage ^= 1) {
    cp_async_wait<0>();
    __syncthreads();  // this stage has come, the other is no longer in use
    const bool more = column + kColumns < s.l;
    if (more) load_columns(stage ^ 1, column + kColumns);
    cp_async_commit();
    float next = 0;
    if constexpr (!kOfQueries)
      if (more) next = statistic<kColumns>(lse, delta, column + kColumns, s.l);
    const auto& tile = shared->stages[stage];
    float p[kColumns / 8][4];
    products<kColumns, kWidth>(shared->one, tile.one, p);
#pragma unroll
    for (int i = 0; i < kColumns / 2; ++i) {
      const int at = i / 4 * 8 + t + i % 2;
      float& weight = p[i / 4][i % 4];
      if constexpr (kOfQueries)
        weight = column + at < s.l ? power_of_two(fmaf(weight, factor, -row_lse[i / 2 % 2])) : 0.0f;
      else
        weight = power_of_two(fmaf(weight, factor, -shared->lse[stage][at]));
    }
    if constexpr (kWeights) accumulate<kColumns, kWidth>(p, tile.two, of_weights);
    if constexpr (kScores) {
      float ds[kColumns / 8][4];
      products<kColumns, kWidth>(shared->two, tile.two, ds);
#pragma unroll
      for (int i = 0; i < kColumns / 2; ++i) {
        const float mean = kOfQueries ? row_delta[i / 2 % 2] : shared->delta[stage][i / 4 * 8 + t + i % 2];
        ds[i / 4][i % 4] = p[i / 4][i % 4] * (ds[i / 4][i % 4] - mean);
      }
      accumulate<kColumns, kWidth>(ds, tile.one, of_scores);
    }
    if constexpr (!kOfQueries) store_statistic(stage ^ 1, next);
  }
  if constexpr (kScores)
    store_result<kWidth>(shared->one, one, first_to + s.at(index), first, of_scores, s.scale, s.scale);
  if constexpr (kWeights) store_result<kWidth>(shared->two, one, second_to + s.at(index), first, of_weights, 1, 1);
}

}  // namespace

void backward(Stream& stream, const AttentionBackward& op, const float* delta) {
  AttentionShape s(op.q, op.heads, op.scale, kMaxWidth);
  s.find_vectors(kOctet, {op.dy, op.q, op.k, op.v, op.dq, op.dk, op.dv});
  const Operands in{op.dy.as<Bf16>(), op.q.as<Bf16>(), op.k.as<Bf16>(), op.v.as<Bf16>(), op.lse.f32(), delta};
  const auto launch = [&]<Gradient gradient, int kWidth>(Bf16* first_to, Bf16* second_to) {
    constexpr size_t kBytes = sizeof(Shared<kWidth>);
    static_assert(kBytes <= 99 * 1024);
    allow_shared("attentionBackward", gradient_kernel<gradient, kWidth>, kBytes);
    launches(s, [&](unsigned blocks) {
      LAUNCH((gradient_kernel<gradient, kWidth>), blocks, kThreads, kBytes, stream.handle, s, in, first_to, second_to);
    });
  };
  Bf16 *const dq = op.dq.as<Bf16>(), *const dk = op.dk.as<Bf16>(), *const dv = op.dv.as<Bf16>();
  dispatch_width(s.d, [&]<int kWidth>() {
    launch.template operator()<Gradient::query, kWidth>(dq, nullptr);
    if constexpr (kWidth <= 128) {
      launch.template operator()<Gradient::key_and_value, kWidth>(dk, dv);
    } else {
      launch.template operator()<Gradient::key, kWidth>(dk, nullptr);
      launch.template operator()<Gradient::value, kWidth>(nullptr, dv);
    }
  });
  check_launch("attentionBackward");
}

}  // namespace diffusion::cuda::attention_mma
