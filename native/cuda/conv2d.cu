// 2-D convolution, NHWC, in f32, as a matrix product whose left operand is gathered from the image (gemm.cuh,
// conv2d.cuh); in bf16: conv2d_mma.cu.
//
//   y[(n, oh, ow), k] = Σ_(r, s, c) x[n, oh·stride + r − top, ow·stride + s − left, c] · weight[(r, s, c), k]
//                       + bias[k] + shift[n, k] + residual[n, oh, ow, k]
//   rows N·OH·OW   columns K   depth R·S·C, channels quickest; c runs over x, then over x2
//
// Bytes: a tile of 64 pixels × 64 output channels reads its window of the image R·S times, from the caches where
// windows overlap.
#include "cuda/conv2d.cuh"
#include "cuda/ops.h"

namespace diffusion::cuda {
namespace {

// x as the pixels of y see it: lines (n, oh, ow), depths (r, s, c).
struct Patches {
  static constexpr bool kAlong = true;
  ConvInput input;
  int64_t pixels;
  bool wide;

  struct Cursor {
    int sample, i, j;  // the window's first pixel, which may lie in the padding
    Odometer tap;      // (r, s, c)
    int rows;          // of the filter; none for pixels that do not exist
  };
  DEVICE Cursor begin(int64_t pixel, int64_t depth, int64_t) const {
    const ConvGeometry& g = input.g;
    const Odometer at = odometer(pixel, g.oh, g.ow);
    return {at.high, at.middle * g.stride - g.top, at.low * g.stride - g.left, odometer(depth, g.s, g.channels()),
            pixel < pixels ? g.r : 0};
  }
  DEVICE const float* find(const Cursor& c, const Odometer& tap) const {
    return tap.high < c.rows ? input.find(c.sample, c.i + tap.high, c.j + tap.middle, tap.low) : nullptr;
  }
  DEVICE Quad next(Cursor& c) const {
    const ConvGeometry& g = input.g;
    const Quad q = gather(c.tap, g.s, g.channels(), wide, [&](const Odometer& tap) { return find(c, tap); });
    c.tap.advance(kSlab, g.s, g.channels());
    return q;
  }
};

}  // namespace

void conv2d(Stream& stream, const Conv2d& op) {
  if (op.x.dtype == DType::bf16) return conv2d_bf16(stream, op);
  const Conv2dGeometry size = op.geometry();
  const ConvGeometry g = conv_geometry(op, size);
  const int64_t area = size.oh * size.ow, pixels = size.n * area;
  const Patches patches{{g, op.x.f32(), op.x2.f32()}, pixels, can_be_wide(g, op.x.data, op.x2.data)};
  gemm(stream, Conv2d::name, patches, matrix<false>(op.weight.f32(), size.k, size.k),
       write_sum(op.y.f32(), size.k, op.bias.f32(), op.residual.f32(), op.shift.f32(), area), pixels, size.k,
       size.r * size.s * (size.c1 + size.c2));
}

}  // namespace diffusion::cuda
