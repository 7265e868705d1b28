// What a timestep or a class label becomes before it enters the network.
#pragma once

#include "core/ops/check.h"

namespace diffusion {

// Sinusoids of t (Vaswani et al. 2017; the variants of DDPM and of diffusers).
//   half = D/2 (floor), freq_i = exp(−ln(10000)·i / (half − freq_shift)), angle = t·freq_i
//   y = [sin | cos], or [cos | sin] with flip_sin_to_cos; a zero ends an odd D.     t [N] i32 or f32   y [N, D]
struct TimestepEmbedding {
  static constexpr const char* name = "timestepEmbedding";
  In t;
  Out y;
  bool flip_sin_to_cos;
  float freq_shift;
  static constexpr auto fields = std::tuple{&TimestepEmbedding::t, &TimestepEmbedding::y,
                                            &TimestepEmbedding::flip_sin_to_cos, &TimestepEmbedding::freq_shift};
  void check() const {
    require_f32<TimestepEmbedding>(y);
    require<TimestepEmbedding>(t.dtype == DType::i32 || t.dtype == DType::f32, "t must hold i32 or f32");
    require<TimestepEmbedding>(y.rank == 2 && y.shape[0] == t.size(), "y must be [t.size, D]");
  }
};

inline constexpr int32_t kNoRow = -1;

// y[n] = table[ids[n]] (+ addend[n]).   ids [N] i32   table [V, D]   addend, y [N, D]
// The id −1 stands for a row of zeros (no class); any other id outside [0, V) fails.
struct Embedding {
  static constexpr const char* name = "embedding";
  In ids, table;
  OptIn addend;
  Out y;
  static constexpr auto fields = std::tuple{&Embedding::ids, &Embedding::table, &Embedding::addend, &Embedding::y};
  int64_t untouched() const { return untouched_rows(table, ids.size()); }
  void check() const {
    require_f32<Embedding>(table, addend, y);
    require_dtype<Embedding>(ids, DType::i32, "ids");
    require<Embedding>(table.rank == 2 && y.size() == ids.size() * table.shape[1] && has_size(addend, y.size()),
                       "sizes do not match");
  }
};

// dtable[ids[n]] += dy[n] where ids[n] ≥ 0; without `accumulate` the table is zeroed first.
struct EmbeddingBackward {
  static constexpr const char* name = "embeddingBackward";
  In ids, dy;
  InOut dtable;
  bool accumulate;
  static constexpr auto fields = std::tuple{&EmbeddingBackward::ids, &EmbeddingBackward::dy, &EmbeddingBackward::dtable,
                                            &EmbeddingBackward::accumulate};
  int64_t untouched() const { return accumulate ? 2 * untouched_rows(dtable, ids.size()) : 0; }
  void check() const {
    require_f32<EmbeddingBackward>(dy, dtable);
    require_dtype<EmbeddingBackward>(ids, DType::i32, "ids");
    require<EmbeddingBackward>(dtable.rank == 2 && dy.size() == ids.size() * dtable.shape[1], "sizes do not match");
  }
};

}  // namespace diffusion
