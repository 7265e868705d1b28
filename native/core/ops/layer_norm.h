// Layer normalisation over the last axis (Ba et al. 2016):
//   x̂ = (x − mean)·rstd, rstd = 1/√(variance + eps), mean and variance (not Bessel's) of a row;  y = x̂·gamma + beta
//
//   x, y, dy, dx [M, D], f32 or bf16 with arithmetic in f32     gamma, beta, dgamma, dbeta [D] f32, gamma and beta may
//   be absent: 1 and 0     stats [M, 2] f32 = (mean, rstd)
#pragma once

#include "core/ops/check.h"

namespace diffusion {

struct LayerNorm {
  static constexpr const char* name = "layerNorm";
  In x;
  OptIn gamma, beta;
  Out y, stats;
  float eps;
  static constexpr auto fields =
      std::tuple{&LayerNorm::x, &LayerNorm::gamma, &LayerNorm::beta, &LayerNorm::y, &LayerNorm::stats, &LayerNorm::eps};
  void check() const {
    require_one_float<LayerNorm>(x, y);
    require_f32<LayerNorm>(gamma, beta, stats);
    require<LayerNorm>(x.rank == 2 && same_shape(x, y), "x and y must be [M, D]");
    require<LayerNorm>(has_size(gamma, x.shape[1]) && has_size(beta, x.shape[1]), "gamma or beta does not match x");
    require<LayerNorm>(stats.size() == 2 * x.shape[0], "stats does not match x");
  }
};

// With w = dy·gamma: dx = rstd·(w − Σw/D − x̂·Σ(w·x̂)/D), dgamma (+)= Σ dy·x̂, dbeta (+)= Σ dy over the rows; each of the
// three may be absent.
struct LayerNormBackward {
  static constexpr const char* name = "layerNormBackward";
  In dy, x;
  OptIn gamma;
  In stats;
  OptOut dx;
  OptInOut dgamma, dbeta;
  bool accumulate;
  static constexpr auto fields = std::tuple{
      &LayerNormBackward::dy, &LayerNormBackward::x,      &LayerNormBackward::gamma, &LayerNormBackward::stats,
      &LayerNormBackward::dx, &LayerNormBackward::dgamma, &LayerNormBackward::dbeta, &LayerNormBackward::accumulate};
  void check() const {
    require_one_float<LayerNormBackward>(dy, x, dx);
    require_f32<LayerNormBackward>(gamma, stats, dgamma, dbeta);
    require<LayerNormBackward>(x.rank == 2 && same_shape(x, dy) && (!dx || same_shape(x, dx)),
                               "x, dy, dx must be [M, D]");
    const int64_t d = x.shape[1];
    require<LayerNormBackward>(has_size(gamma, d) && has_size(dgamma, d) && has_size(dbeta, d),
                               "gamma or a gradient does not match x");
    require<LayerNormBackward>(stats.size() == 2 * x.shape[0], "stats does not match x");
  }
};

}  // namespace diffusion
