// One reverse step of any sampler, by a row of coefficients a sample, from what a network said of x.
#pragma once

#include "core/ops/process.h"

namespace diffusion {

//   m  = output, or with `unconditional` u + guidance·(output − u)          (Ho & Salimans 2021)
//   x0 = px·x + pm·m     with bound: clipped to [−s, s], then divided by s = bound[n]     (Saharia et al. 2022)
//                        else: clipped to [−clip, clip] when clip > 0
//   ε  = ex·x + e0·x0    derived again from the clipped x0
//   x' = a·x + b·x0 + c·x0₁ + e·x0₂ + f·ε + g·m + σ·z    x0₁, x0₂: x0 of one and two steps back;  z = noise or drawn,
//                                                        not when d = 0
//   σ  = d,  d·exp(½v) or d·exp(½(lmin + ½(v + 1)·(lmax − lmin)))           (fixed, learned, learned_range)
// x, x0_1, x0_2, noise, sample, pred_x0 [N, ..., C]     output, unconditional alike, or [N, ..., 2C]: m, then v (that
// of output); the second half is ignored where the variance is fixed
// table [T, 13] = (px, pm, ex, e0, a, b, c, e, f, g, d, lmin, lmax)     t [N] i32     bound [N]
// sample may be x itself; pred_x0 may be x0_1 or x0_2 itself.
struct ReverseStep {
  static constexpr const char* name = "reverseStep";
  static constexpr int kColumns = 13;
  In output;
  OptIn unconditional;
  In x;
  OptIn x0_1, x0_2;
  In t, table;
  OptIn bound, noise;
  Out sample;
  OptOut pred_x0;
  float clip, guidance;
  Variance variance;
  Rng rng;
  static constexpr auto fields = std::tuple{&ReverseStep::output,   &ReverseStep::unconditional, &ReverseStep::x,
                                            &ReverseStep::x0_1,     &ReverseStep::x0_2,          &ReverseStep::t,
                                            &ReverseStep::table,    &ReverseStep::bound,         &ReverseStep::noise,
                                            &ReverseStep::sample,   &ReverseStep::pred_x0,       &ReverseStep::clip,
                                            &ReverseStep::guidance, &ReverseStep::variance,      &ReverseStep::rng};
  int64_t untouched() const { return untouched_rows(table, t.size()); }
  void check() const {
    require_f32<ReverseStep>(output, unconditional, x, x0_1, x0_2, table, bound, noise, sample, pred_x0);
    require_dtype<ReverseStep>(t, DType::i32, "t");
    require_dtype<ReverseStep>(rng.state, DType::i32, "seed");
    const int64_t size = x.size();
    require<ReverseStep>(x.rank >= 1 && sample.size() == size && has_size(x0_1, size) && has_size(x0_2, size) &&
                             has_size(noise, size) && has_size(pred_x0, size),
                         "tensors differ in size");
    require<ReverseStep>(is_output(output, x, variance) && has_size(unconditional, output.size()),
                         "output does not have the channels of x, or twice as many");
    require<ReverseStep>(
        t.size() == x.shape[0] && has_size(bound, x.shape[0]) && table.rank == 2 && table.shape[1] == kColumns,
        "t, bound or table does not match");
  }
};

}  // namespace diffusion
