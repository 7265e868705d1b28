// From the element type of a tensor to a type of C++.
#pragma once

#include "core/error.h"
#include "core/view.h"
#include "cuda/convert.cuh"

namespace diffusion::cuda {

// f(T{}) with T = float or Bf16: what operations compute on (core/ops has checked that all operands agree).
template <class F>
void with_float(DType dtype, const F& f) {
  if (dtype == DType::bf16)
    f(Bf16{});
  else
    f(float{});
}

}  // namespace diffusion::cuda
