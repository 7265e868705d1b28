// Affine map of the last axis.   y[m, k] = bias[k] + Σ x[m, c] · weight[c, k]
//   x [..., C] with M rows   weight [C, K]   bias [K]   residual, y [..., K]
//   x, weight, residual and y hold f32 or bf16 alike (sums in f32); bias and the gradients of weight and bias f32
#pragma once

#include "core/ops/check.h"

namespace diffusion {

template <class Op>
void check_linear(const View& x, const View& weight, const View& bias, const View& y) {
  require<Op>(x.rank >= 1 && y.rank >= 1 && weight.rank == 2, "x and y need an axis, weight must have rank 2");
  require<Op>(x.channels() == weight.shape[0] && y.channels() == weight.shape[1] && x.rows() == y.rows(),
              "x, weight and y do not match");
  require<Op>(has_size(bias, weight.shape[1]), "bias does not match the weight");
}

// Of the map, and of each of its gradients.
inline double linear_flops(const View& x, const View& weight) {
  return 2.0 * static_cast<double>(x.rows()) * static_cast<double>(weight.size());
}

struct Linear {
  static constexpr const char* name = "linear";
  In x, weight;
  OptIn bias, residual;
  Out y;
  static constexpr auto fields = std::tuple{&Linear::x, &Linear::weight, &Linear::bias, &Linear::residual, &Linear::y};

  double flops() const { return linear_flops(x, weight); }
  void check() const {
    require_one_float<Linear>(x, weight, residual, y);
    require_f32<Linear>(bias);
    check_linear<Linear>(x, weight, bias, y);
    require<Linear>(has_size(residual, y.size()), "residual does not match the output");
  }
};

struct LinearBackwardData {
  static constexpr const char* name = "linearBackwardData";
  In dy, weight;
  Out dx;
  static constexpr auto fields =
      std::tuple{&LinearBackwardData::dy, &LinearBackwardData::weight, &LinearBackwardData::dx};

  double flops() const { return linear_flops(dx, weight); }
  void check() const {
    require_one_float<LinearBackwardData>(dy, weight, dx);
    check_linear<LinearBackwardData>(dx, weight, View{}, dy);
  }
};

struct LinearBackwardWeights {
  static constexpr const char* name = "linearBackwardWeights";
  In x, dy;
  InOut dweight;
  OptInOut dbias;
  bool accumulate;
  static constexpr auto fields =
      std::tuple{&LinearBackwardWeights::x, &LinearBackwardWeights::dy, &LinearBackwardWeights::dweight,
                 &LinearBackwardWeights::dbias, &LinearBackwardWeights::accumulate};

  double flops() const { return linear_flops(x, dweight); }
  void check() const {
    require_one_float<LinearBackwardWeights>(x, dy);
    require_f32<LinearBackwardWeights>(dweight, dbias);
    check_linear<LinearBackwardWeights>(x, dweight, dbias, dy);
  }
};

}  // namespace diffusion
