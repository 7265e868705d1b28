// 2-D convolution, NHWC.
//   y[n, oh, ow, k] = bias[k] + Σ x[n, oh·stride + r − pad, ow·stride + s − pad, c] · weight[r, s, c, k]
//
//   x [N, H, W, C1]      x2 [N, H, W, C2] (absent: C2 = 0): their channels count as one tensor's, C = C1 + C2
//   weight [R, S, C, K]  bias [K]  shift [N, K] (added to every pixel)  residual, y [N, OH, OW, K]
//   upsample: the convolution reads the nearest-neighbour 2× enlargement of x (H, W count before enlarging)
//   OH = (H' + top + bottom − R)/stride + 1, H' = 2H when upsampling
//
// x, x2, weight, residual and y hold f32, or bf16 with sums in f32; then y may be f32 if there is no residual. bias,
// shift and the gradients of weight and bias hold f32.
//
//   sums [N, P, K, 2] f32, P = OH·OW/kSumPixels
//
// for the group normalisation that follows: Σ y and Σ y², before rounding, over kSumPixels pixels of a sample each
// (which ones, the backend decides). Only with bf16, and where kSumPixels divides OH·OW.
#pragma once

#include "core/ops/check.h"

namespace diffusion {

inline constexpr int64_t kSumPixels = 64;

struct Conv2dGeometry {
  int64_t n, h, w, c1, c2, oh, ow, k, r, s;  // h, w: as the filter sees them, after enlarging

  // Of the convolution, and of each of its gradients.
  double flops() const { return 2.0 * static_cast<double>(n * oh * ow) * static_cast<double>(r * s * (c1 + c2) * k); }
};

template <class Op>
Conv2dGeometry conv2d_geometry(const Op& op, const View& x, const View& x2, const View& weight, const View& y) {
  require<Op>(x.rank == 4 && weight.rank == 4 && y.rank == 4 && (!x2 || x2.rank == 4), "tensors must have rank 4");
  const int64_t enlarge = op.upsample ? 2 : 1;
  const Conv2dGeometry g{x.shape[0], x.shape[1] * enlarge, x.shape[2] * enlarge, x.shape[3],      x2 ? x2.shape[3] : 0,
                         y.shape[1], y.shape[2],           y.shape[3],           weight.shape[0], weight.shape[1]};
  require<Op>(op.stride >= 1 && op.pad_top >= 0 && op.pad_left >= 0 && op.pad_bottom >= 0 && op.pad_right >= 0,
              "stride must be positive, padding not negative");
  require<Op>(g.h + op.pad_top + op.pad_bottom >= g.r && g.w + op.pad_left + op.pad_right >= g.s,
              "the filter is larger than the padded image");
  require<Op>(g.oh == (g.h + op.pad_top + op.pad_bottom - g.r) / op.stride + 1 &&
                  g.ow == (g.w + op.pad_left + op.pad_right - g.s) / op.stride + 1 && y.shape[0] == g.n,
              "output size does not match");
  require<Op>(weight.shape[2] == g.c1 + g.c2 && weight.shape[3] == g.k, "weight does not match the channels");
  require<Op>(!x2 || (x2.shape[0] == x.shape[0] && x2.shape[1] == x.shape[1] && x2.shape[2] == x.shape[2]),
              "x and x2 differ in batch or size");
  return g;
}

struct Conv2d {
  static constexpr const char* name = "conv2d";
  In x;
  OptIn x2;
  In weight;
  OptIn bias, shift, residual;
  Out y;
  OptOut sums;
  int32_t stride, pad_top, pad_left, pad_bottom, pad_right;
  bool upsample;
  static constexpr auto fields =
      std::tuple{&Conv2d::x,        &Conv2d::x2,         &Conv2d::weight,    &Conv2d::bias,    &Conv2d::shift,
                 &Conv2d::residual, &Conv2d::y,          &Conv2d::sums,      &Conv2d::stride,  &Conv2d::pad_top,
                 &Conv2d::pad_left, &Conv2d::pad_bottom, &Conv2d::pad_right, &Conv2d::upsample};

  Conv2dGeometry geometry() const { return conv2d_geometry(*this, x, x2, weight, y); }
  double flops() const { return geometry().flops(); }
  void check() const {
    const Conv2dGeometry g = geometry();
    require_one_float<Conv2d>(x, x2, weight, residual);
    require_f32<Conv2d>(bias, shift, sums);
    require<Conv2d>(y.dtype == x.dtype || (y.dtype == DType::f32 && !residual), "y has the wrong element type");
    const int64_t area = g.oh * g.ow;
    require<Conv2d>(!sums || (x.dtype == DType::bf16 && area % kSumPixels == 0 &&
                              sums.size() == g.n * (area / kSumPixels) * g.k * 2),
                    "sums does not match the output");
    require<Conv2d>(has_size(bias, g.k) && has_size(shift, g.n * g.k) && has_size(residual, y.size()),
                    "bias, shift or residual does not match the output");
  }
};

// dx[c1], dx2[c2] = the transpose of the convolution applied to dy; upsampling transposed too (sums over 2×2).
struct Conv2dBackwardData {
  static constexpr const char* name = "conv2dBackwardData";
  In dy, weight;
  Out dx;
  OptOut dx2;
  int32_t stride, pad_top, pad_left, pad_bottom, pad_right;
  bool upsample;
  static constexpr auto fields =
      std::tuple{&Conv2dBackwardData::dy,       &Conv2dBackwardData::weight,     &Conv2dBackwardData::dx,
                 &Conv2dBackwardData::dx2,      &Conv2dBackwardData::stride,     &Conv2dBackwardData::pad_top,
                 &Conv2dBackwardData::pad_left, &Conv2dBackwardData::pad_bottom, &Conv2dBackwardData::pad_right,
                 &Conv2dBackwardData::upsample};

  Conv2dGeometry geometry() const { return conv2d_geometry(*this, dx, dx2, weight, dy); }
  double flops() const { return geometry().flops(); }
  void check() const {
    geometry();
    require_one_float<Conv2dBackwardData>(dy, weight, dx, dx2);
  }
};

// dweight (+)= Σ x·dy,  dbias (+)= Σ dy;  `accumulate` adds to what is there, otherwise it is overwritten.
struct Conv2dBackwardWeights {
  static constexpr const char* name = "conv2dBackwardWeights";
  In x;
  OptIn x2;
  In dy;
  InOut dweight;
  OptInOut dbias;
  int32_t stride, pad_top, pad_left, pad_bottom, pad_right;
  bool upsample, accumulate;
  static constexpr auto fields = std::tuple{
      &Conv2dBackwardWeights::x,         &Conv2dBackwardWeights::x2,       &Conv2dBackwardWeights::dy,
      &Conv2dBackwardWeights::dweight,   &Conv2dBackwardWeights::dbias,    &Conv2dBackwardWeights::stride,
      &Conv2dBackwardWeights::pad_top,   &Conv2dBackwardWeights::pad_left, &Conv2dBackwardWeights::pad_bottom,
      &Conv2dBackwardWeights::pad_right, &Conv2dBackwardWeights::upsample, &Conv2dBackwardWeights::accumulate};

  Conv2dGeometry geometry() const { return conv2d_geometry(*this, x, x2, dweight, dy); }
  double flops() const { return geometry().flops(); }
  void check() const {
    const Conv2dGeometry g = geometry();
    require_one_float<Conv2dBackwardWeights>(x, x2, dy);
    require_f32<Conv2dBackwardWeights>(dweight, dbias);
    require<Conv2dBackwardWeights>(has_size(dbias, g.k), "dbias does not match the output channels");
  }
};

}  // namespace diffusion
