// A 3 × 3 convolution with padding 1 of an image enlarged twofold, as four convolutions of the image itself: the pixels
// (2i + p, 2j + q) of the result see 2 × 2 pixels of x, each with the sum of those weights that fall onto it.
//
//   y[2i + p, 2j + q] = Σ_(a, b) x[i + a + p − 1, j + b + q − 1] · folded[p, q, a, b]
//   folded[p, q, a, b] = Σ weight[r, s] over r in R(p, a), s in R(q, b):   R(0, ·) = {0}, {1, 2};  R(1, ·) = {0, 1},
//   {2}
//
// 4/9 of the multiplications, forward and in both gradients. The sums are made in f32 and rounded once.
#pragma once

#include "core/ops/conv2d.h"
#include "cuda/convert.cuh"
#include "cuda/runtime/stream.h"

namespace diffusion::cuda {

template <class Op>
bool can_fold(const Op& op, const Conv2dGeometry& g) {
  return op.upsample && g.r == 3 && g.s == 3 && op.stride == 1 && op.pad_top == 1 && op.pad_left == 1 &&
         op.pad_bottom == 1 && op.pad_right == 1;
}

// [p, q, a, b, C, K] out of weight [3, 3, C, K]. Scratch: slot 1.
const Bf16* fold_weight(Stream& stream, const char* operation, const Bf16* weight, int64_t c, int64_t k);

// The a of phase p onto which weight r falls.
DEVICE int folded_tap(int phase, int r) { return phase == 0 ? r >= 1 : r >= 2; }

}  // namespace diffusion::cuda
