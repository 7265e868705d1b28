// AdamW (Loshchilov & Hutter 2019) over flat arrays that hold many parameters, with gradient clipping and an
// exponential moving average of the weights in the same pass.
#pragma once

#include "core/ops/check.h"

namespace diffusion {

// result[0] = norm = √(before[0]² + Σ grad²)
// result[1] = min(1, clip/(norm + 1e-6));  1 when clip = 0, NaN when the norm is not finite
// Squares are summed in float64. `before` chains the norm over several arrays.     before, result [2]
struct GradientNorm {
  static constexpr const char* name = "gradientNorm";
  In grad;
  OptIn before;
  Out result;
  float clip;
  static constexpr auto fields =
      std::tuple{&GradientNorm::grad, &GradientNorm::before, &GradientNorm::result, &GradientNorm::clip};
  void check() const {
    require_f32<GradientNorm>(grad, before, result);
    require<GradientNorm>(result.size() == 2 && has_size(before, 2), "before and result must hold two values");
  }
};

// With g = grad·norm[1]:   m = β₁m + (1−β₁)g;   v = β₂v + (1−β₂)g²
//   value −= lr·weight_decay·value;   value −= lr/c₁ · m/(√v/√c₂ + eps);   ema = d·ema + (1−d)·value
//   copy (bf16) = value, rounded: what bf16 arithmetic reads
//   hyper = (lr, c₁ = 1−β₁ⁿ, √c₂ = √(1−β₂ⁿ), d)     Nothing is written when norm[1] is NaN.
struct AdamW {
  static constexpr const char* name = "adamW";
  State value;
  In grad;
  State m, v;
  OptState ema, copy;
  In norm, hyper;
  float beta1, beta2, eps, weight_decay;
  static constexpr auto fields =
      std::tuple{&AdamW::value, &AdamW::grad,  &AdamW::m,     &AdamW::v,     &AdamW::ema, &AdamW::copy,
                 &AdamW::norm,  &AdamW::hyper, &AdamW::beta1, &AdamW::beta2, &AdamW::eps, &AdamW::weight_decay};
  int64_t untouched() const { return copy ? copy.bytes() : 0; }  // written, and never read
  void check() const {
    require_f32<AdamW>(value, grad, m, v, ema, norm, hyper);
    require_dtype<AdamW>(copy, DType::bf16, "copy");
    const int64_t size = value.size();
    require<AdamW>(
        grad.size() == size && m.size() == size && v.size() == size && has_size(ema, size) && has_size(copy, size),
        "sizes differ");
    require<AdamW>(norm.size() == 2 && hyper.size() == 4, "norm must hold two values and hyper four");
  }
};

}  // namespace diffusion
