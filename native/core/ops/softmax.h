// y = exp(x − max)/Σ exp(x − max) over the last axis, f32 or bf16 with arithmetic in f32. A row that holds a NaN or +∞,
// or nothing but −∞, becomes NaN.
#pragma once

#include "core/ops/check.h"

namespace diffusion {

struct Softmax {
  static constexpr const char* name = "softmax";
  In x;
  Out y;
  static constexpr auto fields = std::tuple{&Softmax::x, &Softmax::y};
  void check() const {
    require_one_float<Softmax>(x, y);
    require<Softmax>(x.rank >= 1 && same_shape(x, y), "x and y must be alike, with an axis");
  }
};

// dx = y·(dy − Σ dy·y)
struct SoftmaxBackward {
  static constexpr const char* name = "softmaxBackward";
  In dy, y;
  Out dx;
  static constexpr auto fields = std::tuple{&SoftmaxBackward::dy, &SoftmaxBackward::y, &SoftmaxBackward::dx};
  void check() const {
    require_one_float<SoftmaxBackward>(dy, y, dx);
    require<SoftmaxBackward>(y.rank >= 1 && same_shape(y, dy) && same_shape(y, dx), "dy, y and dx must be alike");
  }
};

}  // namespace diffusion
