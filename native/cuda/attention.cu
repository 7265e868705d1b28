// Scaled dot-product attention (core/ops/attention.h), with neither scores nor weights in memory.
//   forward   online softmax over tiles of keys j:
//             m' = max(m, s),  l = l·e^(m − m') + Σ e^(s − m'),  o = o·e^(m − m') + e^(s − m')·v
//             y = o/l,  lse = m + ln l
//   backward  p = exp(scale·q·k − lse),  ds = scale·p·(dy·v − delta),  delta = dy·y
//             dq = Σ_j ds·k     dk = Σ_i ds·q     dv = Σ_i p·dy
//   Shapes    q, k, v, y [N, L, heads·D], any L and D     lse, delta [N, heads, L]
//   Blocks    one a (sample, head, tile of 64 rows, 256 columns of the result): queries for y and dq, keys for dk and
//             dv, which makes the weights again for each of the three: no atomics, and an order that depends on L alone
//   Bytes     a block reads k and v (or q, dy and k, v) of its head once: (L/64)·L·D·8 (12, 16) bytes a head in f32,
//             mostly from L2
//   Sums in f32. bf16 up to D = 256 goes to the tensor cores (attention_mma*.cu); wider heads are computed here.
//   Compiled for sm_80, sm_90a and sm_120 and run on the emulator; never run on a GPU.
#include "cuda/attention_tiles.cuh"
#include "cuda/dispatch.cuh"
#include "cuda/ops.h"

namespace diffusion::cuda {
namespace {

using namespace attention_tiles;

enum Slot { kDelta };
enum class Gradient { query, key, value };

// Parts of 64 columns that a block's result has.
int parts_of(const AttentionShape& s) { return s.d > (kParts - 1) * kTile ? kParts : (s.d + kTile - 1) / kTile; }

// What a block works on: rows first … first + 63 and columns column … of a head.
struct Place {
  int64_t index, first;
  int column;

  DEVICE Place(const AttentionShape& s, int64_t item)
      : index(item / s.groups / s.tiles),
        first(item / s.groups % s.tiles * kTile),
        column(static_cast<int>(item % s.groups) * kParts * kTile) {}
};

template <class T, int parts>
KERNEL(kThreads)
forward_kernel(AttentionShape s, const T* q, const T* k, const T* v, T* y, float* lse) {
  DYN_SMEM(Shared, shared);
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int64_t item = blockIdx.x; item < s.items; item += gridDim.x) {
    const Place place(s, item);
    const Head<T> queries = s.head(q, place.index), keys = s.head(k, place.index), values = s.head(v, place.index);
    float result[parts][4][4] = {}, weights[4][4];
    float most[4] = {-kInfinity, -kInfinity, -kInfinity, -kInfinity}, total[4] = {0, 0, 0, 0};
    for (int64_t key = 0; key < s.l; key += kTile) {
      products(*shared, queries, place.first, keys, key, weights);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float top = most[i];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          weights[i][j] = key + tx + 16 * j < s.l ? weights[i][j] * s.scale : -kInfinity;
          top = fmaxf(top, weights[i][j]);
        }
        top = across_row(top, [](float a, float b) { return fmaxf(a, b); });
        const float shrink = expf(most[i] - top);
        float sum = 0;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          weights[i][j] = expf(weights[i][j] - top);
          sum += weights[i][j];
        }
        most[i] = top;
        total[i] = fmaf(total[i], shrink, across_row(sum, [](float a, float b) { return a + b; }));
#pragma unroll
        for (int part = 0; part < parts; ++part)
#pragma unroll
          for (int j = 0; j < 4; ++j) result[part][i][j] *= shrink;
      }
      store_weights(*shared, weights);
      accumulate(*shared, values, key, place.column, result);
    }
    store_result(queries, y + s.at(place.index), place.first, place.column, result,
                 [&](int i) { return 1.0f / total[i]; });
    if (tx == 0 && place.column == 0)
      for (int i = 0; i < 4; ++i)
        if (place.first + 4 * ty + i < s.l)
          lse[place.index * s.l + place.first + 4 * ty + i] = most[i] + logf(total[i]);
  }
}

// One warp a row: delta[n, h, i] = dy·y.
template <class T>
KERNEL(kThreads)
delta_kernel(AttentionShape s, const T* dy, const T* y, float* delta) {
  const int lane = threadIdx.x % 32;
  const int64_t step = int64_t{gridDim.x} * (kThreads / 32);
  for (int64_t row = int64_t{blockIdx.x} * (kThreads / 32) + threadIdx.x / 32; row < s.samples * s.heads * s.l;
       row += step) {
    const int64_t at = s.at(row / s.l) + row % s.l * s.heads * s.d;
    float sum = 0;
    for (int d = lane; d < s.d; d += 32) sum = fmaf(value_of(dy[at + d]), value_of(y[at + d]), sum);
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, distance);
    if (lane == 0) delta[row] = sum;
  }
}

template <class T>
struct Operands {
  const T *dy, *q, *k, *v;
  const float *lse, *delta;
};

// The gradient of queries has rows i and columns j; those of keys and values are the transposed products.
template <Gradient gradient, class T, int parts>
KERNEL(kThreads)
gradient_kernel(AttentionShape s, Operands<T> in, T* to) {
  DYN_SMEM(Shared, shared);
  constexpr bool of_queries = gradient == Gradient::query;
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int64_t item = blockIdx.x; item < s.items; item += gridDim.x) {
    const Place place(s, item);
    const Head<T> q = s.head(in.q, place.index), k = s.head(in.k, place.index);
    const Head<T> dy = s.head(in.dy, place.index), v = s.head(in.v, place.index);
    const float *lse = in.lse + place.index * s.l, *delta = in.delta + place.index * s.l;
    float result[parts][4][4] = {};
    for (int64_t other = 0; other < s.l; other += kTile) {
      float p[4][4], dp[4][4];
      products(*shared, of_queries ? q : k, place.first, of_queries ? k : q, other, p);
      if constexpr (gradient != Gradient::value)
        products(*shared, of_queries ? dy : v, place.first, of_queries ? v : dy, other, dp);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int64_t row = place.first + 4 * ty + i, column = other + tx + 16 * j, query = of_queries ? row : column;
          const bool inside = row < s.l && column < s.l;
          p[i][j] = inside ? expf(fmaf(p[i][j], s.scale, -lse[query])) : 0.0f;
          if constexpr (gradient != Gradient::value)
            p[i][j] = inside ? s.scale * p[i][j] * (dp[i][j] - delta[query]) : 0.0f;
        }
      store_weights(*shared, p);
      accumulate(*shared, of_queries ? k : gradient == Gradient::key ? q : dy, other, place.column, result);
    }
    store_result(q, to + s.at(place.index), place.first, place.column, result, [](int) { return 1.0f; });
  }
}

// f with the number of parts as a constant. Heads in bf16 come here when they are wide.
template <class T, class F>
void dispatch_parts(const AttentionShape& s, F f) {
  static_assert(attention_mma::kMaxWidth >= (kParts - 1) * kTile);
  if constexpr (std::is_same_v<T, float>) switch (parts_of(s)) {
      case 1:
        return f.template operator()<1>();
      case 2:
        return f.template operator()<2>();
      case 3:
        return f.template operator()<3>();
    }
  f.template operator()<kParts>();
}

bool on_tensor_cores(const View& q, int64_t heads) {
  return q.dtype == DType::bf16 && q.channels() / heads <= attention_mma::kMaxWidth;
}

}  // namespace

void attention(Stream& stream, const Attention& op) {
  if (on_tensor_cores(op.q, op.heads)) return attention_mma::forward(stream, op);
  AttentionShape s(op.q, op.heads, op.scale, kParts * kTile);
  s.find_vectors(4, {op.q, op.k, op.v, op.y});
  with_float(op.q.dtype, [&](auto type) {
    using T = decltype(type);
    dispatch_parts<T>(s, [&]<int parts>() {
      LAUNCH((forward_kernel<T, parts>), attention_grid(s.items), kThreads, sizeof(Shared), stream.handle, s,
             op.q.as<T>(), op.k.as<T>(), op.v.as<T>(), op.y.as<T>(), op.lse.f32());
    });
  });
  check_launch("attention");
}

void attention_backward(Stream& stream, const AttentionBackward& op) {
  AttentionShape s(op.q, op.heads, op.scale, kParts * kTile);
  s.find_vectors(4, {op.dy, op.q, op.k, op.v, op.dq, op.dk, op.dv});
  const int64_t rows = s.samples * s.heads * s.l;
  float* delta = stream.scratch_floats(kDelta, rows);
  with_float(op.q.dtype, [&](auto type) {
    using T = decltype(type);
    LAUNCH((delta_kernel<T>), attention_grid((rows + 7) / 8), kThreads, 0, stream.handle, s, op.dy.as<T>(),
           op.y.as<T>(), delta);
    if (on_tensor_cores(op.q, op.heads)) return attention_mma::backward(stream, op, delta);
    const Operands<T> in{op.dy.as<T>(), op.q.as<T>(), op.k.as<T>(), op.v.as<T>(), op.lse.f32(), delta};
    const unsigned grid = attention_grid(s.items);
    dispatch_parts<T>(s, [&]<int parts>() {
      LAUNCH((gradient_kernel<Gradient::query, T, parts>), grid, kThreads, sizeof(Shared), stream.handle, s, in,
             op.dq.as<T>());
      LAUNCH((gradient_kernel<Gradient::key, T, parts>), grid, kThreads, sizeof(Shared), stream.handle, s, in,
             op.dk.as<T>());
      LAUNCH((gradient_kernel<Gradient::value, T, parts>), grid, kThreads, sizeof(Shared), stream.handle, s, in,
             op.dv.as<T>());
    });
  });
  check_launch("attentionBackward");
}

}  // namespace diffusion::cuda
