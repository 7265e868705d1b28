// The diffusion process (Ho et al. 2020; Song et al. 2021), each operation one pass over memory.
// Coefficients come from float32 tables computed in float64; t [N] i32 picks a row a sample, and a row outside its
// table fails.
#pragma once

#include "core/ops/check.h"

namespace diffusion {

enum class Target : int32_t { epsilon = 0, sample = 1, v = 2 };

// The variance of a reverse step: of the step alone, or told by the model in a second half of its channels, as its
// logarithm or as where that lies between two bounds (Nichol & Dhariwal 2021, eq. 15).
enum class Variance : int32_t { fixed = 0, learned = 1, learned_range = 2 };

// Whether `output` has twice the channels of x: [N, ..., 2C] where x is [N, ..., C].
inline bool is_doubled(const View& output, const View& x) {
  return x.rank >= 2 && output.rank == x.rank && output.channels() == 2 * x.channels() && output.size() == 2 * x.size();
}

// Whether a model that gave `output` may have been given x; the variance is that of the step where there is no second
// half, which is ignored where the variance is fixed.
inline bool is_output(const View& output, const View& x, Variance variance) {
  return is_doubled(output, x) || (variance == Variance::fixed && output.size() == x.size());
}

// log σ² = offset + slope·v of what a model says, v: lmin (fixed), v (learned), lmin + ½(v + 1)·(lmax − lmin) (range).
struct LogVariance {
  float offset, slope;

  DIFFUSION_HD LogVariance(Variance variance, float low, float high)
      : offset(variance == Variance::fixed     ? low
               : variance == Variance::learned ? 0.0f
                                               : 0.5f * (low + high)),
        slope(variance == Variance::fixed     ? 0.0f
              : variance == Variance::learned ? 1.0f
                                              : 0.5f * (high - low)) {}
  DIFFUSION_HD float operator()(float v) const { return offset + slope * v; }
};

// Fused noising: x0' = normalise, mirror(x0);  ε = noise or drawn;  xt = a·x0' + b·ε,  (a, b) = table[t]
//   x0 [N, H, W, C] f32, or u8 (x/127.5 − 1)     table [T, 2]     noise, xt, noise_out, target as x0 in f32
//   flip: a sample is mirrored left-right when bit 0 of word 0 of (sample, block 0) in stream + 1 is set (needs rank 4)
//   x0_out: x0'        target: what a network should predict: ε, x0', or v = a·ε − b·x0' (Salimans & Ho 2022)
//   The element index of ε is the index within the sample of xt.
struct Noising {
  static constexpr const char* name = "noising";
  In x0, t, table;
  OptIn noise;
  Out xt;
  OptOut noise_out, target, x0_out;
  Target target_kind;
  bool flip;
  Rng rng;
  static constexpr auto fields = std::tuple{
      &Noising::x0,     &Noising::t,      &Noising::table,       &Noising::noise, &Noising::xt, &Noising::noise_out,
      &Noising::target, &Noising::x0_out, &Noising::target_kind, &Noising::flip,  &Noising::rng};
  int64_t untouched() const { return untouched_rows(table, t.size()); }
  void check() const {
    require_f32<Noising>(table, noise, xt, noise_out, target, x0_out);
    require<Noising>(x0.dtype == DType::f32 || x0.dtype == DType::u8, "x0 must hold f32 or u8");
    require_dtype<Noising>(t, DType::i32, "t");
    require_dtype<Noising>(rng.state, DType::i32, "seed");
    require<Noising>(x0.rank >= 1 && same_shape(x0, xt) && has_size(noise, x0.size()) &&
                         has_size(noise_out, x0.size()) && has_size(target, x0.size()) && has_size(x0_out, x0.size()),
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
  int64_t untouched() const { return untouched_rows(table, t.size()); }
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
  int64_t untouched() const { return untouched_rows(table, t.size()); }
  void check() const {
    require_dtype<Gather>(t, DType::i32, "t");
    require<Gather>(table.dtype == y.dtype && (table.dtype == DType::f32 || table.dtype == DType::i32),
                    "table and y must hold f32 or i32 alike");
    require<Gather>(t.size() == y.size() && table.rank == 1, "t and y differ in size");
    require<Gather>(!overlap(t, y), "y must not write over t");
  }
};

}  // namespace diffusion
