// What attention in bf16 is made of, forward and backward: operands packed for its products, tiles, and the functions
// that make a tile of P from one of scores.
#pragma once

#include <omp.h>

#include <algorithm>

#include "cpu/attention.h"
#include "cpu/pack_bf16.h"
#include "cpu/parallel.h"
#include "cpu/runtime/primitives.h"

namespace diffusion::cpu::DIFFUSION_ISA {

enum AttentionSlot { kPacked = kFreeSlot, kTiles };

static inline Blocks blocks_of(int64_t l) { return Blocks(l, most_rows(l), kTileRows); }

static inline Bf16Matrix head_of(const AttentionShape& s, const View& x, int64_t head) {
  return {x.as<Bf16>() + s.at(head), s.l, s.d, s.c};
}

// Packed operands of heads, `size` words each: pack(head, first, to) packs a strip of sixteen rows. Threads that have
// whole heads to do pack each when they get there, so that it is still in the cache; where several threads share a
// head, the team packs all of them first.
template <class Pack>
class PackedHeads {
 public:
  PackedHeads(Stream& stream, const AttentionShape& s, int64_t size, const Pack& pack)
      : own_(s.n * s.heads >= stream.threads), rows_(s.l), size_(size), pack_(pack) {
    const int64_t heads = s.n * s.heads, strips = divide_up(s.l, kPackedRows);
    memory_ = static_cast<uint32_t*>(
        stream.scratch.get(kPacked, static_cast<size_t>((own_ ? stream.threads : heads) * size * 4)));
    if (own_) return;
    parallel_for(stream, heads * strips, grain_of(kPackedRows * s.d), [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item)
        pack_(item / strips, item % strips * kPackedRows, memory_ + item / strips * size_);
    });
  }
  // In a thread's loop over heads, `last` being the one before.
  const uint32_t* of(int64_t head, int64_t& last) const {
    if (!own_) return memory_ + head * size_;
    uint32_t* const to = memory_ + omp_get_thread_num() * size_;
    if (head != last)
      for (int64_t first = 0; first < rows_; first += kPackedRows) pack_(head, first, to);
    last = head;
    return to;
  }

 private:
  bool own_;
  int64_t rows_, size_;
  const Pack& pack_;
  uint32_t* memory_;
};

// Memory of a thread: two tiles of f32 with their roundings, and dS with its rows in pairs.
struct Tiles {
  float *p, *ds;
  Bf16 *p_rounded, *ds_rounded;
  uint32_t* ds_pairs;
};

class TileMemory {
 public:
  TileMemory(Stream& stream, int64_t tile, int64_t pairs)
      : tile_(divide_up(tile, 32) * 32), bytes_(12 * tile_ + 4 * divide_up(pairs, 16) * 16) {
    memory_ = static_cast<char*>(stream.scratch.get(kTiles, static_cast<size_t>(stream.threads * bytes_)));
  }
  Tiles of_thread() const {
    char* const at = memory_ + omp_get_thread_num() * bytes_;
    auto* const p = reinterpret_cast<float*>(at);
    auto* const rounded = reinterpret_cast<Bf16*>(at + 8 * tile_);
    return {p, p + tile_, rounded, rounded + tile_, reinterpret_cast<uint32_t*>(at + 12 * tile_)};
  }

 private:
  int64_t tile_, bytes_;
  char* memory_;
};

// exp_f32 for a vector, with the same bits: scaling by a power of two replaces its two factors.
static inline __m512 exp_vector(__m512 x) {
  const auto set = [](float value) { return _mm512_set1_ps(value); };
  x = _mm512_maskz_max_ps(0xFFFF, set(-104.0f), _mm512_maskz_min_ps(0xFFFF, set(89.0f), x));  // in this order NaN stays
  const __m512 shifted = _mm512_fmadd_ps(x, set(1.44269504088896341f), set(12582912.0f));
  const __m512 n = shifted - set(12582912.0f);
  __m512 r = _mm512_fmadd_ps(n, set(-0.693359375f), x);
  r = _mm512_fmadd_ps(n, set(2.12194440e-4f), r);
  __m512 p = set(kExp[0]);
  for (int i = 1; i < 6; ++i) p = _mm512_fmadd_ps(p, r, set(kExp[i]));
  p = _mm512_fmadd_ps(p, r * r, r) + set(1.0f);
  return _mm512_maskz_scalef_ps(0xFFFF, p, n);
}

// to = x rounded; returns what that gives.
DIFFUSION_WITH_BF16 static inline __m512 round_vector(__m512 x, Bf16* to) {
  const auto rounded = (__m256i)_mm512_cvtneps_pbh(x);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), rounded);
  return (__m512)(words_of(rounded) << 16);
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
