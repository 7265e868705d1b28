// Group normalisation (Wu & He 2018) with what follows it in a residual block.
//   x̂ = (x − mean)·rstd over the HW·C/G values of a (sample, group);   z = x̂·gamma + beta
//   scale_shift [N, 2C] = (scale | shift):  z = z·(1 + scale) + shift       silu: z = z·sigmoid(z)
//   dropout p: z is 0 with probability p, else z/(1 − p); element = index within the sample of y
//   x [N, ..., C1], x2 [N, ..., C2] (absent: C2 = 0) are read as one tensor of C = C1 + C2 channels   gamma, beta [C]
//   x, x2, y and their gradients hold f32 or bf16 alike (arithmetic in f32), the rest f32
//   sums [N, P1, C1, 2], sums2 [N, P2, C2, 2]: what the convolutions that made x and x2 left (conv2d.h); with them the
//     statistics need no pass over x. Both, or neither.
//   y [N, ..., C]   stats [N, G, 2] = (mean, rstd)
#pragma once

#include "core/ops/check.h"

namespace diffusion {

template <class Op>
void check_group_norm(const Op& op, const View& x, const View& x2, const View& y) {
  require<Op>(x.rank >= 2 && y.rank == x.rank && (!x2 || x2.rank == x.rank),
              "x must have rank 2 or more, x2 and y the same");
  const int64_t c = x.channels() + (x2 ? x2.channels() : 0);
  const int64_t n = x.shape[0];
  require<Op>(y.channels() == c && y.rows() == x.rows() && y.shape[0] == n, "x and y do not match");
  require<Op>(!x2 || (x2.rows() == x.rows() && x2.shape[0] == n), "x and x2 do not match");
  require<Op>(op.groups >= 1 && c % op.groups == 0, "channels must be divisible by groups");
  require<Op>(op.gamma.size() == c && op.beta.size() == c && has_size(op.scale_shift, n * 2 * c) &&
                  op.stats.size() == n * op.groups * 2,
              "gamma, beta, scale_shift or stats does not match");
  require<Op>(op.dropout >= 0 && op.dropout < 1, "dropout must be in [0, 1)");
  require_one_float<Op>(x, x2, y);
  require_f32<Op>(op.gamma, op.beta, op.scale_shift, op.stats);
  require_dtype<Op>(op.rng.state, DType::i32, "seed");
}

struct GroupNorm {
  static constexpr const char* name = "groupNorm";
  In x;
  OptIn x2;
  In gamma, beta;
  OptIn scale_shift, sums, sums2;
  Out y, stats;
  int32_t groups;
  float eps;
  bool silu;
  float dropout;
  Rng rng;
  static constexpr auto fields =
      std::tuple{&GroupNorm::x,    &GroupNorm::x2,    &GroupNorm::gamma,   &GroupNorm::beta,  &GroupNorm::scale_shift,
                 &GroupNorm::sums, &GroupNorm::sums2, &GroupNorm::y,       &GroupNorm::stats, &GroupNorm::groups,
                 &GroupNorm::eps,  &GroupNorm::silu,  &GroupNorm::dropout, &GroupNorm::rng};

  void check() const {
    check_group_norm(*this, x, x2, y);
    require_f32<GroupNorm>(sums, sums2);
    const auto fits = [&](const View& given, const View& of) {
      return given.rank == 4 && given.shape[0] == of.shape[0] && given.shape[2] == of.channels() && given.shape[3] == 2;
    };
    require<GroupNorm>(!sums || fits(sums, x), "sums does not match x");
    require<GroupNorm>(bool(sums2) == (bool(sums) && bool(x2)) && (!sums2 || fits(sums2, x2)),
                       "sums2 does not match x2");
  }
};

// dgamma, dbeta: `accumulate` adds to what is there, otherwise they are overwritten. The dropout mask is drawn again.
struct GroupNormBackward {
  static constexpr const char* name = "groupNormBackward";
  In dy, x;
  OptIn x2;
  In gamma, beta;
  OptIn scale_shift;
  In stats;
  Out dx;
  OptOut dx2;
  InOut dgamma, dbeta;
  OptOut dscale_shift;
  int32_t groups;
  bool silu;
  float dropout;
  Rng rng;
  bool accumulate;
  static constexpr auto fields =
      std::tuple{&GroupNormBackward::dy,     &GroupNormBackward::x,         &GroupNormBackward::x2,
                 &GroupNormBackward::gamma,  &GroupNormBackward::beta,      &GroupNormBackward::scale_shift,
                 &GroupNormBackward::stats,  &GroupNormBackward::dx,        &GroupNormBackward::dx2,
                 &GroupNormBackward::dgamma, &GroupNormBackward::dbeta,     &GroupNormBackward::dscale_shift,
                 &GroupNormBackward::groups, &GroupNormBackward::silu,      &GroupNormBackward::dropout,
                 &GroupNormBackward::rng,    &GroupNormBackward::accumulate};

  void check() const {
    check_group_norm(*this, x, x2, dy);
    require<GroupNormBackward>(same_shape(dx, x) && bool(dx2) == bool(x2) && (!x2 || same_shape(dx2, x2)),
                               "dx or dx2 does not match its input");
    require<GroupNormBackward>(dgamma.size() == gamma.size() && dbeta.size() == beta.size() &&
                                   bool(dscale_shift) == bool(scale_shift) &&
                                   has_size(dscale_shift, scale_shift.size()),
                               "dgamma, dbeta or dscale_shift does not match");
    require_one_float<GroupNormBackward>(x, dx, dx2);
    require_f32<GroupNormBackward>(dgamma, dbeta, dscale_shift);
  }
};

}  // namespace diffusion
