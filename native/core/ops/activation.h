// Activation functions, element by element, f32 or bf16 with arithmetic in f32. SiLU is in elementwise.h.
//   0 relu       max(x, 0), the gradient at 0 is 0
//   1 gelu       x·Φ(x), Φ the distribution function of the standard normal
//   2 gelu_tanh  ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
//   3 sigmoid    1/(1 + exp(−x))
//   4 tanh
// A NaN gives a NaN, in the gradient too.
#pragma once

#include "core/ops/check.h"

namespace diffusion {

enum class ActivationKind : int32_t { relu, gelu, gelu_tanh, sigmoid, tanh, count };

inline bool is_activation(int32_t kind) { return kind >= 0 && kind < static_cast<int32_t>(ActivationKind::count); }

struct Activation {
  static constexpr const char* name = "activation";
  In x;
  Out y;
  int32_t kind;
  static constexpr auto fields = std::tuple{&Activation::x, &Activation::y, &Activation::kind};
  void check() const {
    require_one_float<Activation>(x, y);
    require<Activation>(x.size() == y.size(), "x and y differ in size");
    require<Activation>(is_activation(kind), "there is no function of this number");
  }
};

// dx = dy · f'(x)
struct ActivationBackward {
  static constexpr const char* name = "activationBackward";
  In dy, x;
  Out dx;
  int32_t kind;
  static constexpr auto fields =
      std::tuple{&ActivationBackward::dy, &ActivationBackward::x, &ActivationBackward::dx, &ActivationBackward::kind};
  void check() const {
    require_one_float<ActivationBackward>(dy, x, dx);
    require<ActivationBackward>(x.size() == dy.size() && x.size() == dx.size(), "sizes differ");
    require<ActivationBackward>(is_activation(kind), "there is no function of this number");
  }
};

}  // namespace diffusion
