// Maps of one or two tensors, element by element. All of an operation hold f32, or all bf16 with arithmetic in f32.
#pragma once

#include "core/ops/check.h"

namespace diffusion {

// y = x · sigmoid(x)
struct Silu {
  static constexpr const char* name = "silu";
  In x;
  Out y;
  static constexpr auto fields = std::tuple{&Silu::x, &Silu::y};
  void check() const {
    require_one_float<Silu>(x, y);
    require<Silu>(x.size() == y.size(), "x and y differ in size");
  }
};

struct SiluBackward {
  static constexpr const char* name = "siluBackward";
  In dy, x;
  Out dx;
  static constexpr auto fields = std::tuple{&SiluBackward::dy, &SiluBackward::x, &SiluBackward::dx};
  void check() const {
    require_one_float<SiluBackward>(dy, x, dx);
    require<SiluBackward>(x.size() == dy.size() && x.size() == dx.size(), "sizes differ");
  }
};

// y = a + b
struct Add {
  static constexpr const char* name = "add";
  In a, b;
  Out y;
  static constexpr auto fields = std::tuple{&Add::a, &Add::b, &Add::y};
  void check() const {
    require_one_float<Add>(a, b, y);
    require<Add>(a.size() == b.size() && a.size() == y.size(), "sizes differ");
  }
};

// y = a · b
struct Mul {
  static constexpr const char* name = "mul";
  In a, b;
  Out y;
  static constexpr auto fields = std::tuple{&Mul::a, &Mul::b, &Mul::y};
  void check() const {
    require_one_float<Mul>(a, b, y);
    require<Mul>(a.size() == b.size() && a.size() == y.size(), "sizes differ");
  }
};

// y = scale · x + offset
struct Scale {
  static constexpr const char* name = "scale";
  In x;
  Out y;
  float scale, offset;
  static constexpr auto fields = std::tuple{&Scale::x, &Scale::y, &Scale::scale, &Scale::offset};
  void check() const {
    require_one_float<Scale>(x, y);
    require<Scale>(x.size() == y.size(), "sizes differ");
  }
};

// y is 0 with probability p, else x/(1 − p). The same operation with the same rng is its own backward.
struct Dropout {
  static constexpr const char* name = "dropout";
  In x;
  Out y;
  float p;
  Rng rng;
  static constexpr auto fields = std::tuple{&Dropout::x, &Dropout::y, &Dropout::p, &Dropout::rng};
  void check() const {
    require_one_float<Dropout>(x, y);
    require<Dropout>(x.rank >= 1 && same_shape(x, y), "x and y must be alike, with an axis");
    require<Dropout>(p >= 0 && p < 1, "p must be in [0, 1)");
    require_dtype<Dropout>(rng.state, DType::i32, "seed");
  }
};

}  // namespace diffusion
