// What a network says of the variance of a reverse step, and the variational bound on the log-likelihood.
#pragma once

#include "core/gaussian_bound.h"
#include "core/ops/process.h"

namespace diffusion {

// log_variance = v (learned) or lmin + ½(v + 1)·(lmax − lmin) (learned_range), variance its exponential
//   output [N, ..., 2C], v its second half     variance, log_variance [N, ..., C]
//   table [T, 2] = (lmin, lmax)     t [N] i32
struct ModelVariance {
  static constexpr const char* name = "modelVariance";
  In output, t, table;
  Out variance, log_variance;
  Variance kind;
  static constexpr auto fields =
      std::tuple{&ModelVariance::output,       &ModelVariance::t,   &ModelVariance::table, &ModelVariance::variance,
                 &ModelVariance::log_variance, &ModelVariance::kind};
  int64_t untouched() const { return untouched_rows(table, t.size()); }
  void check() const {
    require_f32<ModelVariance>(output, table, variance, log_variance);
    require_dtype<ModelVariance>(t, DType::i32, "t");
    require<ModelVariance>(is_doubled(output, variance) && same_shape(variance, log_variance),
                           "output does not have twice the channels of the variance");
    require<ModelVariance>(t.size() == output.shape[0] && table.rank == 2 && table.shape[1] == 2,
                           "t or table does not match");
  }
};

// vb[n] in bits per element, of the process p of the model, whose output [N, ..., C or 2C] is (m, then v):
//   x̂0 = px·xt + pm·m, clipped to [−clip, clip] when clip > 0
//   q: mean c1·x0 + c2·xt, log σ² = lq     p: mean c1·x̂0 + c2·xt, log σ² = lmin, v or lmin + ½(v + 1)·(lmax − lmin)
//   t > 0: mean over the sample of KL(q‖p) / ln 2;  t = 0: mean of −log p(x0) / ln 2, x0 being bytes/127.5 − 1
//   x_start_mse[n] = mean of (x̂0 − x0)²     mse[n] = mean of (ex·xt + e0·x̂0 − noise)²
// x0, xt, noise [N, ..., C]     table [T, 9] = (px, pm, ex, e0, c1, c2, lq, lmin, lmax)     t [N] i32
struct VariationalBound {
  static constexpr const char* name = "variationalBound";
  In output, x0, xt, t, table;
  OptIn noise;
  Out vb;
  OptOut x_start_mse, mse;
  float clip;
  Variance variance;
  static constexpr auto fields = std::tuple{
      &VariationalBound::output, &VariationalBound::x0,    &VariationalBound::xt,      &VariationalBound::t,
      &VariationalBound::table,  &VariationalBound::noise, &VariationalBound::vb,      &VariationalBound::x_start_mse,
      &VariationalBound::mse,    &VariationalBound::clip,  &VariationalBound::variance};
  int64_t untouched() const { return untouched_rows(table, t.size()); }
  void check() const {
    require_f32<VariationalBound>(output, x0, xt, table, noise, vb, x_start_mse, mse);
    require_dtype<VariationalBound>(t, DType::i32, "t");
    require<VariationalBound>(x0.rank >= 1 && xt.size() == x0.size() && has_size(noise, x0.size()) && (!mse || noise),
                              "tensors differ in size");
    require<VariationalBound>(is_output(output, x0, variance),
                              "output does not have the channels of x0, or twice as many");
    const int64_t samples = x0.shape[0];
    require<VariationalBound>(t.size() == samples && vb.size() == samples && has_size(x_start_mse, samples) &&
                                  has_size(mse, samples) && table.rank == 2 && table.shape[1] == BoundRow::kColumns,
                              "t, table or a result does not match");
  }
};

// grad_output = grad_vb[n] · ∂vb[n]/∂output, in the shape of output; nothing passes where x̂0 is clipped, or by m at all
// with detach_mean (Nichol & Dhariwal 2021, section 3.1).
struct VariationalBoundBackward {
  static constexpr const char* name = "variationalBoundBackward";
  In output, x0, xt, t, table, grad_vb;
  Out grad_output;
  float clip;
  Variance variance;
  bool detach_mean;
  static constexpr auto fields = std::tuple{
      &VariationalBoundBackward::output,      &VariationalBoundBackward::x0,    &VariationalBoundBackward::xt,
      &VariationalBoundBackward::t,           &VariationalBoundBackward::table, &VariationalBoundBackward::grad_vb,
      &VariationalBoundBackward::grad_output, &VariationalBoundBackward::clip,  &VariationalBoundBackward::variance,
      &VariationalBoundBackward::detach_mean};
  int64_t untouched() const { return untouched_rows(table, t.size()); }
  void check() const {
    using Op = VariationalBoundBackward;
    require_f32<Op>(output, x0, xt, table, grad_vb, grad_output);
    require_dtype<Op>(t, DType::i32, "t");
    require<Op>(x0.rank >= 1 && xt.size() == x0.size() && same_shape(output, grad_output), "tensors differ in size");
    require<Op>(is_output(output, x0, variance), "output does not have the channels of x0, or twice as many");
    require<Op>(t.size() == x0.shape[0] && grad_vb.size() == x0.shape[0] && table.rank == 2 &&
                    table.shape[1] == BoundRow::kColumns,
                "t, table or grad_vb does not match");
  }
};

}  // namespace diffusion
