// The diffusion process (Ho et al. 2020; Song et al. 2021), each operation one pass over memory.
// Coefficients come from float32 tables computed in float64; t [N] i32 picks a row a sample, and a row outside its
// table fails.
#pragma once

#include "core/ops/check.h"

namespace diffusion {

enum class Target : int32_t { epsilon = 0, sample = 1, v = 2 };

// Fused noising: x0' = normalise, mirror(x0);  ε = noise or drawn;  xt = a·x0' + b·ε,  (a, b) = table[t]
//   x0 [N, H, W, C] f32, or u8 (x/127.5 − 1)     table [T, 2]     noise, xt, noise_out, target as x0 in f32
//   flip: a sample is mirrored left-right when bit 0 of word 0 of (sample, block 0) in stream + 1 is set (needs rank 4)
//   target: what a network should predict: ε, x0', or v = a·ε − b·x0' (Salimans & Ho 2022)
//   The element index of ε is the index within the sample of xt.
struct Noising {
  static constexpr const char* name = "noising";
  In x0, t, table;
  OptIn noise;
  Out xt;
  OptOut noise_out, target;
  Target target_kind;
  bool flip;
  Rng rng;
  static constexpr auto fields =
      std::tuple{&Noising::x0,        &Noising::t,      &Noising::table,       &Noising::noise, &Noising::xt,
                 &Noising::noise_out, &Noising::target, &Noising::target_kind, &Noising::flip,  &Noising::rng};
  void check() const {
    require_f32<Noising>(table, noise, xt, noise_out, target);
    require<Noising>(x0.dtype == DType::f32 || x0.dtype == DType::u8, "x0 must hold f32 or u8");
    require_dtype<Noising>(t, DType::i32, "t");
    require_dtype<Noising>(rng.state, DType::i32, "seed");
    require<Noising>(x0.rank >= 1 && same_shape(x0, xt) && has_size(noise, x0.size()) &&
                         has_size(noise_out, x0.size()) && has_size(target, x0.size()),
                     "tensors differ in shape");
    require<Noising>(t.size() == x0.shape[0] && table.rank == 2 && table.shape[1] == 2, "t or table does not match");
    require<Noising>(!flip || x0.rank == 4, "flip needs [N, H, W, C]");
  }
};

// y = a·x + b·z,  (a, b) = table[t]; without z only a·x.     x, z, y [N, ...]     table [T, 2]
struct Blend {
  static constexpr const char* name = "blend";
  In x;
  OptIn z;
  In t, table;
  Out y;
  static constexpr auto fields = std::tuple{&Blend::x, &Blend::z, &Blend::t, &Blend::table, &Blend::y};
  void check() const {
    require_f32<Blend>(x, z, table, y);
    require_dtype<Blend>(t, DType::i32, "t");
    require<Blend>(x.rank >= 1 && x.size() == y.size() && has_size(z, x.size()), "tensors differ in size");
    require<Blend>(t.size() == x.shape[0] && table.rank == 2 && table.shape[1] == 2, "t or table does not match");
  }
};

// y[n] = table[t[n]].     table [T] of f32 or i32, y [N] of the same
struct Gather {
  static constexpr const char* name = "gather";
  In table, t;
  Out y;
  static constexpr auto fields = std::tuple{&Gather::table, &Gather::t, &Gather::y};
  void check() const {
    require_dtype<Gather>(t, DType::i32, "t");
    require<Gather>(table.dtype == y.dtype && (table.dtype == DType::f32 || table.dtype == DType::i32),
                    "table and y must hold f32 or i32 alike");
    require<Gather>(t.size() == y.size() && table.rank == 1, "t and y differ in size");
    require<Gather>(!overlap(t, y), "y must not write over t");
  }
};

// One reverse step of any sampler, by a row of coefficients.
//   x0 = clip(px·x + pm·output)                    clip to [−clip, clip] when clip > 0
//   ε  = ex·x + e0·x0                              re-derived from the clipped x0
//   x' = a·x + b·x0 + c·x0₁ + e·x0₂ + f·ε + d·z    x0₁, x0₂: x0 of one and two steps back;  z = noise or drawn, not
//   drawn when d = 0 output, x, x0_1, x0_2, noise, sample, pred_x0 [N, ...]     table [T, 10] = (px, pm, ex, e0, a, b,
//   c, e, f, d)
// sample may be x itself; pred_x0 may be x0_1 or x0_2 itself.
struct ReverseStep {
  static constexpr const char* name = "reverseStep";
  static constexpr int kColumns = 10;
  In output, x;
  OptIn x0_1, x0_2;
  In t, table;
  OptIn noise;
  Out sample;
  OptOut pred_x0;
  float clip;
  Rng rng;
  static constexpr auto fields =
      std::tuple{&ReverseStep::output,  &ReverseStep::x,     &ReverseStep::x0_1,  &ReverseStep::x0_2,
                 &ReverseStep::t,       &ReverseStep::table, &ReverseStep::noise, &ReverseStep::sample,
                 &ReverseStep::pred_x0, &ReverseStep::clip,  &ReverseStep::rng};
  void check() const {
    require_f32<ReverseStep>(output, x, x0_1, x0_2, table, noise, sample, pred_x0);
    require_dtype<ReverseStep>(t, DType::i32, "t");
    require_dtype<ReverseStep>(rng.state, DType::i32, "seed");
    const int64_t size = x.size();
    require<ReverseStep>(x.rank >= 1 && output.size() == size && sample.size() == size && has_size(x0_1, size) &&
                             has_size(x0_2, size) && has_size(noise, size) && has_size(pred_x0, size),
                         "tensors differ in size");
    require<ReverseStep>(t.size() == x.shape[0] && table.rank == 2 && table.shape[1] == kColumns,
                         "t or table does not match");
  }
};

}  // namespace diffusion
