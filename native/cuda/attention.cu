// Scaled dot-product attention (core/ops/attention.h), with neither scores nor weights in memory.
//   forward   online softmax over tiles of keys j:  m' = max(m, s),  l = l·e^(m − m') + Σ e^(s − m'),  o = o·e^(m − m')
//   + e^(s − m')·v
//             y = o/l,  lse = m + ln l
//   backward  p = exp(scale·q·k − lse),  ds = scale·p·(dy·v − delta),  delta = dy·y
//             dq = Σ_j ds·k     dk = Σ_i ds·q     dv = Σ_i p·dy
//   Shapes    q, k, v, y [N, L, heads·D], any L and D     lse, delta [N, heads, L]
//   Blocks    one a (sample, head, tile of 64 rows, 256 columns of the result): queries for y and dq, keys for dk and
//   dv, which
//             makes the weights again for each of the three: no atomics, and a fixed order that depends on L alone
//   Bytes     a block reads k and v (or q, dy and k, v) of its head once: (L/64)·L·D·8 (12, 16) bytes a head, mostly
//   from L2 Sums in f32. Compiled for sm_80, sm_90a and sm_120 and run on the emulator; never run on a GPU.
#include "core/ops/attention.h"
#include "cuda/attention_tiles.cuh"
#include "cuda/ops.h"

namespace diffusion::cuda {
namespace {

using namespace attention_tiles;

enum Slot { kDelta };
enum class Gradient { query, key, value };

struct Shape {
  int64_t samples, l, heads, tiles, items;
  int d, groups;  // groups of kParts·kTile columns
  float scale;
  bool vector;

  Shape(const View& q, int64_t heads, float scale)
      : samples(q.shape[0]), l(q.shape[1]), heads(heads), d(static_cast<int>(q.shape[2] / heads)), scale(scale) {
    tiles = (l + kTile - 1) / kTile;
    groups = (d + kParts * kTile - 1) / (kParts * kTile);
    items = samples * heads * tiles * groups;
    vector = d % 4 == 0;
  }
  void require_alignment(const View& view) {
    vector = vector && reinterpret_cast<uintptr_t>(view.data) % sizeof(Quad) == 0;
  }
  int parts() const { return d > (kParts - 1) * kTile ? kParts : (d + kTile - 1) / kTile; }
  // Offset of a head in q …; `index` counts n·heads + h.
  DEVICE int64_t at(int64_t index) const { return (index / heads * l * heads + index % heads) * d; }
  DEVICE Head head(const float* x, int64_t index) const { return {x + at(index), l, heads * d, d, vector}; }
};

// What a block works on: rows first … first + 63 and columns column … of a head.
struct Place {
  int64_t index, first;
  int column;

  DEVICE Place(const Shape& s, int64_t item)
      : index(item / s.groups / s.tiles),
        first(item / s.groups % s.tiles * kTile),
        column(static_cast<int>(item % s.groups) * kParts * kTile) {}
};

template <int parts>
KERNEL(kThreads)
forward_kernel(Shape s, const float* q, const float* k, const float* v, float* y, float* lse) {
  DYN_SMEM(Shared, shared);
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int64_t item = blockIdx.x; item < s.items; item += gridDim.x) {
    const Place place(s, item);
    const Head queries = s.head(q, place.index), keys = s.head(k, place.index), values = s.head(v, place.index);
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
KERNEL(kThreads) delta_kernel(Shape s, const float* dy, const float* y, float* delta) {
  const int lane = threadIdx.x % 32;
  const int64_t step = int64_t{gridDim.x} * (kThreads / 32);
  for (int64_t row = int64_t{blockIdx.x} * (kThreads / 32) + threadIdx.x / 32; row < s.samples * s.heads * s.l;
       row += step) {
    const int64_t at = s.at(row / s.l) + row % s.l * s.heads * s.d;
    float sum = 0;
    for (int d = lane; d < s.d; d += 32) sum = fmaf(dy[at + d], y[at + d], sum);
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, distance);
    if (lane == 0) delta[row] = sum;
  }
}

struct Operands {
  const float *dy, *q, *k, *v, *lse, *delta;
};

// The gradient of queries has rows i and columns j; those of keys and values are the transposed products.
template <Gradient gradient, int parts>
KERNEL(kThreads)
gradient_kernel(Shape s, Operands in, float* to) {
  DYN_SMEM(Shared, shared);
  constexpr bool of_queries = gradient == Gradient::query;
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int64_t item = blockIdx.x; item < s.items; item += gridDim.x) {
    const Place place(s, item);
    const Head q = s.head(in.q, place.index), k = s.head(in.k, place.index);
    const Head dy = s.head(in.dy, place.index), v = s.head(in.v, place.index);
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

unsigned grid_of(int64_t items) { return static_cast<unsigned>(items < 1 ? 1 : items < (1 << 30) ? items : 1 << 30); }

// f with the number of parts of 64 columns that a block's result has, as a constant.
template <class F>
void dispatch_parts(const Shape& s, F f) {
  switch (s.parts()) {
    case 1:
      return f.template operator()<1>();
    case 2:
      return f.template operator()<2>();
    case 3:
      return f.template operator()<3>();
    default:
      return f.template operator()<4>();
  }
}

}  // namespace

void attention(Stream& stream, const Attention& op) {
  Shape s(op.q, op.heads, op.scale);
  for (const View* view : {static_cast<const View*>(&op.q), static_cast<const View*>(&op.k),
                           static_cast<const View*>(&op.v), static_cast<const View*>(&op.y)})
    s.require_alignment(*view);
  dispatch_parts(s, [&]<int parts>() {
    LAUNCH((forward_kernel<parts>), grid_of(s.items), kThreads, sizeof(Shared), stream.handle, s, op.q.f32(),
           op.k.f32(), op.v.f32(), op.y.f32(), op.lse.f32());
  });
  check_launch("attention");
}

void attention_backward(Stream& stream, const AttentionBackward& op) {
  Shape s(op.q, op.heads, op.scale);
  for (const View& view : {View(op.dy), View(op.q), View(op.k), View(op.v), View(op.dq), View(op.dk), View(op.dv)})
    s.require_alignment(view);
  float* delta = stream.scratch_floats(kDelta, s.samples * s.heads * s.l);
  LAUNCH(delta_kernel, grid_of((s.samples * s.heads * s.l + 7) / 8), kThreads, 0, stream.handle, s, op.dy.f32(),
         op.y.f32(), delta);
  const Operands in{op.dy.f32(), op.q.f32(), op.k.f32(), op.v.f32(), op.lse.f32(), delta};
  const unsigned grid = grid_of(s.items);
  dispatch_parts(s, [&]<int parts>() {
    LAUNCH((gradient_kernel<Gradient::query, parts>), grid, kThreads, sizeof(Shared), stream.handle, s, in,
           op.dq.f32());
    LAUNCH((gradient_kernel<Gradient::key, parts>), grid, kThreads, sizeof(Shared), stream.handle, s, in, op.dk.f32());
    LAUNCH((gradient_kernel<Gradient::value, parts>), grid, kThreads, sizeof(Shared), stream.handle, s, in,
           op.dv.f32());
  });
  check_launch("attentionBackward");
}

}  // namespace diffusion::cuda
