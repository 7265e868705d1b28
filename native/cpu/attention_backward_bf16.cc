// The gradients of attention_bf16.cc.
#include "cpu/float_types.h"
#include "cpu/ops.h"
#if defined(__AVX512F__)
#include "cpu/attention_bf16.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

DIFFUSION_WITH_BF16 float dot_product(const Bf16* a, const Bf16* b, int64_t n) {
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < n; i += 2 * kVectorLanes) {
    const __mmask32 mask = n - i >= 2 * kVectorLanes ? 0xFFFFFFFFu : (1u << (n - i)) - 1;
    sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_maskz_loadu_epi16(mask, a + i),
                           (__m512bh)_mm512_maskz_loadu_epi16(mask, b + i));
  }
  return horizontal_sum((Vector)sum);
}

// One head of one sample in the backward pass. Names as in the products: qᵀ, kᵀ, dyᵀ, vᵀ [D, L] and q, k, dy [L, D].
struct HeadGradients {
  const AttentionShape& s;
  const Bf16 *q, *k, *v, *dy;
  const uint32_t *packed_qt, *packed_dyt, *packed_q, *packed_dy, *packed_k, *packed_kt, *packed_vt;
  const float *lse, *dots;  // dots: rowsum(dy∘y)
  Bf16 *dq, *dk, *dv;
  float scale;
  Tiles tiles;

  // P = exp(scale·q·kᵀ − lse),  dS = scale · P∘(dy·vᵀ − dots)  from the products in the tiles. Queries, which lse and
  // dots belong to, are the rows of the tiles or their columns.
  template <bool kQueriesAcross>
  DIFFUSION_WITH_BF16 void scores(int64_t rows, const float* log_sums, const float* query_dots) const {
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t at = row * s.lp;
      for (int64_t i = 0; i < s.lp; i += kVectorLanes) {
        const __mmask16 inside = lanes_below(s.l - i);
        const auto of_query = [&](const float* x) {
          return kQueriesAcross ? _mm512_maskz_loadu_ps(inside, x + i) : _mm512_set1_ps(x[row]);
        };
        const __m512 p = exp_vector(_mm512_loadu_ps(tiles.p + at + i) - of_query(log_sums));
        const __m512 ds = _mm512_set1_ps(scale) * p * (_mm512_loadu_ps(tiles.ds + at + i) - of_query(query_dots));
        if (kQueriesAcross) round_vector(_mm512_maskz_mov_ps(inside, p), tiles.p_rounded + at + i);
        round_vector(_mm512_maskz_mov_ps(inside, ds), tiles.ds_rounded + at + i);
      }
    }
  }
  // dk and dv of a block of keys, with tiles of Pᵀ and dSᵀ.
  void keys(int64_t first, int64_t rows) const {
    const int64_t at = first * s.c;
    pair_matmul<float>({rows, s.d, s.lp, k + at, s.c, 2, packed_qt, tiles.p, s.lp, scale});
    pair_matmul<float>({rows, s.d, s.lp, v + at, s.c, 2, packed_dyt, tiles.ds, s.lp});
    scores<true>(rows, lse, dots);
    pair_matmul<Bf16>({rows, s.l, s.d, tiles.p_rounded, s.lp, 2, packed_dy, dv + at, s.c});
    pair_matmul<Bf16>({rows, s.l, s.d, tiles.ds_rounded, s.lp, 2, packed_q, dk + at, s.c});
  }
  // dq of a block of queries.
  void queries(int64_t first, int64_t rows) const {
    const int64_t at = first * s.c;
    pair_matmul<float>({rows, s.d, s.lp, q + at, s.c, 2, packed_kt, tiles.p, s.lp, scale});
    pair_matmul<float>({rows, s.d, s.lp, dy + at, s.c, 2, packed_vt, tiles.ds, s.lp});
    scores<false>(rows, lse + first, dots + first);
    pair_matmul<Bf16>({rows, s.l, s.d, tiles.ds_rounded, s.lp, 2, packed_k, dq + at, s.c});
  }
  // All gradients from scores that are computed once: dq = dS·k takes dSᵀ by columns.
  void all(const Blocks& blocks, int64_t pair_stride) const {
    for (int64_t first = 0; first < s.l; first += blocks.rows) {
      const int64_t rows = std::min(blocks.rows, s.l - first);
      keys(first, rows);
      for (int64_t row = 0; row < rows; row += 2) {
        const Bf16* const ds = tiles.ds_rounded + row * s.lp;
        pair_up(ds, row + 1 < rows ? ds + s.lp : nullptr, s.lp, tiles.ds_pairs + (first + row) / 2 * pair_stride);
      }
    }
    const auto* const ds = reinterpret_cast<const Bf16*>(tiles.ds_pairs);
    pair_matmul<Bf16>({s.l, s.l + s.l % 2, s.d, ds, 2, 2 * pair_stride, packed_k, dq, s.c});
  }
};

}  // namespace

// Short sequences: one task a head, scores computed once, where that makes enough tasks. Otherwise tasks for blocks of
// keys and for blocks of queries, each computing the scores that it needs: 7 products instead of 5, and the same bits.
void attention_backward_bf16(Stream& stream, const AttentionBackward& op) {
  const AttentionShape s(op.q, op.heads);
  const bool whole = s.l * s.l <= kTile && s.n * s.heads >= stream.threads;
  const Blocks blocks = blocks_of(s.l);
  const int64_t tasks = whole ? 1 : 2 * blocks.count;
  const int64_t t = packed_size(s.d, s.l), r = packed_size(s.l, s.d), dots_at = 2 * t + 3 * r;
  const int64_t kt_at = dots_at + s.lp, vt_at = kt_at + t, size = whole ? kt_at : vt_at + t;
  const auto pack = [&](int64_t index, int64_t first, uint32_t* to) {
    const Bf16Matrix q = head_of(s, op.q, index), k = head_of(s, op.k, index), dy = head_of(s, op.dy, index),
                     y = head_of(s, op.y, index);
    pack_columns(q, first, to);
    pack_columns(dy, first, to + t);
    pack_rows(q, first, to + 2 * t);
    pack_rows(dy, first, to + 2 * t + r);
    pack_rows(k, first, to + 2 * t + 2 * r);
    auto* const dots = reinterpret_cast<float*>(to + dots_at);
    for (int64_t row = first; row < std::min(first + kPackedRows, s.l); ++row)
      dots[row] = dot_product(dy.row(row), y.row(row), s.d);
    if (whole) return;
    pack_columns(k, first, to + kt_at);
    pack_columns(head_of(s, op.v, index), first, to + vt_at);
  };
  const PackedHeads packed(stream, s, size, pack);
  // Sixteen more than whole cache lines, or a power of two would send all pairs of a column to a few of the cache's
  // sets.
  const int64_t pair_stride = s.lp + 16;
  const TileMemory memory(stream, blocks.rows * s.lp, whole ? divide_up(s.l, 2) * pair_stride : 0);
  const int64_t work = (whole ? s.l : blocks.rows) * s.l * (s.d + 16) / 16;

  parallel_for(stream, s.n * s.heads * tasks, grain_of(work), [&](int64_t begin, int64_t end) {
    const Tiles tiles = memory.of_thread();
    int64_t last = -1;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t index = item / tasks, task = item % tasks, at = s.at(index);
      const uint32_t* const b = packed.of(index, last);
      const HeadGradients head{s,
                               op.q.as<Bf16>() + at,
                               op.k.as<Bf16>() + at,
                               op.v.as<Bf16>() + at,
                               op.dy.as<Bf16>() + at,
                               b,
                               b + t,
                               b + 2 * t,
                               b + 2 * t + r,
                               b + 2 * t + 2 * r,
                               b + kt_at,
                               b + vt_at,
                               op.lse.f32() + index * s.l,
                               reinterpret_cast<const float*>(b + dots_at),
                               op.dq.as<Bf16>() + at,
                               op.dk.as<Bf16>() + at,
                               op.dv.as<Bf16>() + at,
                               op.scale,
                               tiles};
      const int64_t first = task / 2 * blocks.rows, rows = std::min(blocks.rows, s.l - first);
      if (whole)
        head.all(blocks, pair_stride);
      else if (task % 2 == 0)
        head.queries(first, rows);
      else
        head.keys(first, rows);
    }
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA

#else

#include "cpu/attention.h"
#include "cpu/runtime/primitives.h"

namespace diffusion::cpu::DIFFUSION_ISA {

void attention_backward_bf16(Stream& stream, const AttentionBackward& op) {
  in_f32(stream, kFreeSlot + 3, op, [&](const AttentionBackward& wide) { attention_backward(stream, wide); });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
#endif
