// Attention whose products multiply pairs of bf16. Softmax and all sums are f32; P and dS are rounded before they are
// multiplied. Blocks of rows as in attention.cc: neither the batch nor the number of threads changes a bit.
#include "cpu/float_types.h"
#include "cpu/ops.h"
#if defined(__AVX512F__)
#include "cpu/attention_bf16.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

// p [Lp] = e^(x − max x) rounded, 0 from L on; returns the sum of what that gives, and ln Σ e^x without rounding.
DIFFUSION_WITH_BF16 float softmax_row_bf16(float* x, int64_t l, int64_t lp, float& lse, Bf16* p) {
  const float max = pad_to_minimum(x, l, lp);
  __m512 sum = _mm512_setzero_ps(), rounded = _mm512_setzero_ps();
  for (int64_t i = 0; i < lp; i += kVectorLanes) {
    const __m512 e = exp_vector(_mm512_loadu_ps(x + i) - _mm512_set1_ps(max));
    sum += e;
    rounded += round_vector(e, p + i);
  }
  lse = max + std::log(horizontal_sum((Vector)sum));
  return horizontal_sum((Vector)rounded);
}

}  // namespace

void attention_bf16(Stream& stream, const Attention& op) {
  const AttentionShape s(op.q, op.heads);
  const Blocks blocks = blocks_of(s.l);
  const int64_t k_size = packed_size(s.d, s.l), size = k_size + packed_size(s.l, s.d);
  const auto pack = [&](int64_t head, int64_t first, uint32_t* to) {
    pack_columns(head_of(s, op.k, head), first, to);
    pack_rows(head_of(s, op.v, head), first, to + k_size);
  };
  const PackedHeads packed(stream, s, size, pack);
  const TileMemory memory(stream, blocks.rows * s.lp, 0);
  const int64_t work = blocks.rows * s.l * (s.d + 32) / 32;

  parallel_for(stream, s.n * s.heads * blocks.count, grain_of(work), [&](int64_t begin, int64_t end) {
    const Tiles tiles = memory.of_thread();
    int64_t last = -1;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t head = item / blocks.count, first = item % blocks.count * blocks.rows;
      const int64_t rows = std::min(blocks.rows, s.l - first), at = s.at(head) + first * s.c;
      const uint32_t* const b = packed.of(head, last);
      pair_matmul<float>({rows, s.d, s.lp, op.q.as<Bf16>() + at, s.c, 2, b, tiles.p, s.lp, op.scale});
      float inverses[kMostRows + kTileRows];
      for (int64_t row = 0; row < rows; ++row)
        inverses[row] = 1 / softmax_row_bf16(tiles.p + row * s.lp, s.l, s.lp, op.lse.f32()[head * s.l + first + row],
                                             tiles.p_rounded + row * s.lp);
      pair_matmul<Bf16>({rows, s.l, s.d, tiles.p_rounded, s.lp, 2, b + k_size, op.y.as<Bf16>() + at, s.c, 1, inverses});
    }
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA

#else

#include "cpu/attention.h"
#include "cpu/runtime/primitives.h"

namespace diffusion::cpu::DIFFUSION_ISA {

void attention_bf16(Stream& stream, const Attention& op) {
  in_f32(stream, kFreeSlot + 3, op, [&](const Attention& wide) { attention(stream, wide); });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
#endif
