// Random tensors by core/random.h: axis 0 counts samples, the element is the index within a sample.
#pragma once

#include "core/ops/check.h"

namespace diffusion {

template <class Op>
void check_random(const View& y, const Rng& rng, DType dtype) {
  require<Op>(y.rank >= 1, "y needs an axis");
  require_dtype<Op>(y, dtype, "y");
  require_dtype<Op>(rng.state, DType::i32, "seed");
}

// Standard normals.
struct RandomNormal {
  static constexpr const char* name = "randomNormal";
  Out y;
  Rng rng;
  static constexpr auto fields = std::tuple{&RandomNormal::y, &RandomNormal::rng};
  void check() const { check_random<RandomNormal>(y, rng, DType::f32); }
};

// Uniform in [low, high): low + (high − low)·u, u of 24 bits.
struct RandomUniform {
  static constexpr const char* name = "randomUniform";
  Out y;
  float low, high;
  Rng rng;
  static constexpr auto fields =
      std::tuple{&RandomUniform::y, &RandomUniform::low, &RandomUniform::high, &RandomUniform::rng};
  void check() const { check_random<RandomUniform>(y, rng, DType::f32); }
};

// Integers in [low, high).
struct RandomIntegers {
  static constexpr const char* name = "randomIntegers";
  Out y;
  int32_t low, high;
  Rng rng;
  static constexpr auto fields =
      std::tuple{&RandomIntegers::y, &RandomIntegers::low, &RandomIntegers::high, &RandomIntegers::rng};
  void check() const {
    check_random<RandomIntegers>(y, rng, DType::i32);
    require<RandomIntegers>(low < high, "low must be below high");
  }
};

// state[2] += 1 (wrapping): the next draws from this seed state differ.   state: i32, at least 3 elements
struct AdvanceSeed {
  static constexpr const char* name = "advanceSeed";
  InOut state;
  static constexpr auto fields = std::tuple{&AdvanceSeed::state};
  void check() const {
    require_dtype<AdvanceSeed>(state, DType::i32, "state");
    require<AdvanceSeed>(state.size() >= 3, "state must hold at least 3 elements");
  }
};

}  // namespace diffusion
