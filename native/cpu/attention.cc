// Every task owns a block of rows of its outputs, and the size of a block depends on L alone: neither the batch nor the
// number of threads changes a bit. K and V are transposed first, so that all products run along contiguous rows.
#include "cpu/attention.h"

#include <omp.h>

#include <algorithm>

#include "cpu/ops.h"
#include "cpu/parallel.h"
#include "cpu/runtime/primitives.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

constexpr int kTransposedK = kFreeSlot, kTransposedV = kFreeSlot + 1, kScores = kFreeSlot + 2;

// [N·heads, D, Lp] = the heads of x [N, L, heads·D] transposed, zero beyond L.
const float* transpose_heads(Stream& stream, const AttentionShape& s, const float* x, int slot) {
  const int64_t strips = divide_up(s.d, kStrip);
  float* const y = stream.scratch.floats(slot, static_cast<size_t>(s.n * s.c * s.lp));
  parallel_for(stream, s.n * s.heads * strips, grain_of(kStrip * s.l), [=](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t head = item / strips, first = item % strips * kStrip, columns = std::min(kStrip, s.d - first);
      float* const to = y + (head * s.d + first) * s.lp;
      transpose_strip(x + s.at(head) + first, s.c, s.l, columns, to, s.lp);
      for (int64_t row = 0; row < columns; ++row) std::fill(to + row * s.lp + s.l, to + (row + 1) * s.lp, 0.0f);
    }
  });
  return y;
}

float dot_product(const float* a, const float* b, int64_t n) {
  Vector sum{};
  int64_t i = 0;
  for (; i + kVectorLanes <= n; i += kVectorLanes) sum += load(a + i) * load(b + i);
  float rest = 0;
  for (; i < n; ++i) rest += a[i] * b[i];
  return horizontal_sum(sum) + rest;
}

// One head of one sample in the backward pass, with tiles P and dS for queries i… and keys j….
struct HeadGradients {
  const AttentionShape& s;
  const float *dy, *q, *k, *y, *lse, *kt, *vt;
  float *dq, *dk, *dv;
  float scale;
  float *p, *ds;

  // P = exp(scale·q·kᵀ − lse),  dS = scale · P∘(dy·vᵀ − rowsum(dy∘y))
  void scores(int64_t i, int64_t rows, int64_t j, int64_t columns) const {
    const int64_t width = padded(columns);
    matmul({rows, s.d, width, q + i * s.c, s.c, 1, kt + j, s.lp, p, width, nullptr, nullptr, scale});
    matmul({rows, s.d, width, dy + i * s.c, s.c, 1, vt + j, s.lp, ds, width});
    for (int64_t row = 0; row < rows; ++row) {
      const float dot = dot_product(dy + (i + row) * s.c, y + (i + row) * s.c, s.d);
      const float log_sum = lse[i + row];
      float *p_row = p + row * width, *ds_row = ds + row * width;
      for (int64_t c = 0; c < columns; ++c) {
        p_row[c] = exp_falling_f32(p_row[c] - log_sum);
        ds_row[c] = scale * p_row[c] * (ds_row[c] - dot);
      }
    }
  }
  // dq = dS·k for tiles that hold all keys.
  void query_gradient(int64_t i, int64_t rows) const {
    matmul({rows, s.l, s.d, ds, s.lp, 1, k, s.c, dq + i * s.c, s.c});
  }
  // dv = Pᵀ·dy, dk = dSᵀ·q for tiles that hold all queries.
  void key_gradients(int64_t j, int64_t columns) const {
    const int64_t width = padded(columns);
    matmul({columns, s.l, s.d, p, 1, width, dy, s.c, dv + j * s.c, s.c});
    matmul({columns, s.l, s.d, ds, 1, width, q, s.c, dk + j * s.c, s.c});
  }
};

}  // namespace

void attention(Stream& stream, const Attention& op) {
  if (op.q.dtype == DType::bf16) return attention_bf16(stream, op);
  const AttentionShape s(op.q, op.heads);
  const Blocks blocks(s.l, most_rows(s.l));
  const float* const kt = transpose_heads(stream, s, op.k.f32(), kTransposedK);
  float* const scratch = stream.scratch.floats(kScores, static_cast<size_t>(stream.threads * blocks.rows * s.lp));

  parallel_for(stream, s.n * s.heads * blocks.count, grain_of(blocks.rows * s.l), [&](int64_t begin, int64_t end) {
    float* const p = scratch + omp_get_thread_num() * blocks.rows * s.lp;  // [rows, Lp]
    for (int64_t item = begin; item < end; ++item) {
      const int64_t head = item / blocks.count, first = item % blocks.count * blocks.rows;
      const int64_t rows = std::min(blocks.rows, s.l - first), at = s.at(head) + first * s.c;
      matmul({rows, s.d, s.lp, op.q.f32() + at, s.c, 1, kt + head * s.d * s.lp, s.lp, p, s.lp, nullptr, nullptr,
              op.scale});
      float sums[kMostRows];
      for (int64_t row = 0; row < rows; ++row)
        sums[row] = softmax_row(p + row * s.lp, s.l, s.lp, op.lse.f32()[head * s.l + first + row]);
      matmul({rows, s.l, s.d, p, s.lp, 1, op.v.f32() + s.at(head), s.c, op.y.f32() + at, s.c});
      for (int64_t row = 0; row < rows; ++row) {
        const float inverse = 1 / sums[row];
        float* const y = op.y.f32() + at + row * s.c;
        for (int64_t i = 0; i < s.d; ++i) y[i] *= inverse;
      }
    }
  });
}

// Short sequences: one task a head, scores computed once. Long ones: tasks for blocks of queries (dq) and for blocks of
// keys (dk, dv), each computing the scores that it needs.
void attention_backward(Stream& stream, const AttentionBackward& op) {
  if (op.q.dtype == DType::bf16) return attention_backward_bf16(stream, op);
  const AttentionShape s(op.q, op.heads);
  const bool whole = s.l * s.l <= kTile;
  const Blocks blocks(s.l, whole ? s.l : most_rows(s.l));
  const int64_t tasks = whole ? 1 : 2 * blocks.count;
  const int64_t tile = std::max(blocks.rows * s.lp, s.l * padded(blocks.rows));
  const float* const kt = transpose_heads(stream, s, op.k.f32(), kTransposedK);
  const float* const vt = transpose_heads(stream, s, op.v.f32(), kTransposedV);
  float* const scratch = stream.scratch.floats(kScores, static_cast<size_t>(2 * stream.threads * tile));

  parallel_for(stream, s.n * s.heads * tasks, grain_of(blocks.rows * s.l), [&](int64_t begin, int64_t end) {
    float* const p = scratch + 2 * omp_get_thread_num() * tile;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t index = item / tasks, task = item % tasks, at = s.at(index), transposed = index * s.d * s.lp;
      const HeadGradients head{s,
                               op.dy.f32() + at,
                               op.q.f32() + at,
                               op.k.f32() + at,
                               op.y.f32() + at,
                               op.lse.f32() + index * s.l,
                               kt + transposed,
                               vt + transposed,
                               op.dq.f32() + at,
                               op.dk.f32() + at,
                               op.dv.f32() + at,
                               op.scale,
                               p,
                               p + tile};
      const int64_t first = task / 2 * blocks.rows, rows = std::min(blocks.rows, s.l - first);
      if (whole || task % 2 == 0) {
        head.scores(first, rows, 0, s.l);
        head.query_gradient(first, rows);
      } else {
        head.scores(0, s.l, first, rows);
      }
      if (whole || task % 2 == 1) head.key_gradients(first, rows);
    }
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
