#include "core/ops/conv2d.h"

#include "cpu/ops.h"
#include "cpu/parallel.h"
#include "cpu/runtime/primitives.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

// The convolution over the channels of x, or of x2; both read rows of one weight of C1 + C2 input channels.
template <class Op>
Convolution convolution_of(const Op& op, const Conv2dGeometry& g, int64_t c) {
  return {g.n, g.h,         g.w,       c,          g.oh,        g.ow,          g.k,         g.r,
          g.s, g.c1 + g.c2, op.stride, op.pad_top, op.pad_left, op.pad_bottom, op.pad_right};
}

// Room for the image as the filter sees it when upsampling.
template <class Operand>
Operand enlarged(Stream& stream, const View& x) {
  Operand large;
  static_cast<View&>(large) = x;
  large.shape[1] *= 2;
  large.shape[2] *= 2;
  large.data = stream.scratch.floats(kFreeSlot, static_cast<size_t>(large.size()));
  return large;
}

// The input as the filter sees it.
const float* filter_input(Stream& stream, const View& x, bool enlarge) {
  if (!enlarge) return x.f32();
  const Out large = enlarged<Out>(stream, x);
  upsample(stream, {In{x}, large});
  return large.f32();
}

// dx of one input; `weight` starts at its first channel.
void input_gradient(Stream& stream, const Convolution& shape, const View& dy, const float* weight, const Out& dx,
                    bool enlarge) {
  if (!enlarge) {
    stream.primitives->convolution_backward_data(shape, dy.f32(), weight, dx.f32());
    return;
  }
  const In large = enlarged<In>(stream, dx);
  stream.primitives->convolution_backward_data(shape, dy.f32(), weight, large.f32());
  upsample_backward(stream, {large, dx});
}

// y[n, p, k] += residual[n, p, k] + shift[n, k], either may be absent. A pass of its own over y, which the caches still
// hold: a post-operation makes oneDNN's convolution 4 to 8 % slower, this costs 2 %.
void add_to_pixels(const Stream& stream, const float* shift, const float* residual, int64_t n, int64_t pixels,
                   int64_t k, float* y) {
  parallel_for(stream, n * pixels, grain_of(k), [=](int64_t begin, int64_t end) {
    for (int64_t pixel = begin; pixel < end; ++pixel) {
      float* const to = y + pixel * k;
      if (residual)
        for (int64_t i = 0; i < k; ++i) to[i] += residual[pixel * k + i];
      if (shift)
        for (int64_t i = 0; i < k; ++i) to[i] += shift[pixel / pixels * k + i];
    }
  });
}

}  // namespace

void conv2d(Stream& stream, const Conv2d& op) {
  const Conv2dGeometry g = op.geometry();
  const float* const weight = op.weight.f32();
  float* const y = op.y.f32();
  stream.primitives->convolution(convolution_of(op, g, g.c1), filter_input(stream, op.x, op.upsample), weight,
                                 op.bias.f32(), false, y);
  if (op.x2)
    stream.primitives->convolution(convolution_of(op, g, g.c2), filter_input(stream, op.x2, op.upsample),
                                   weight + g.c1 * g.k, nullptr, true, y);
  if (op.shift || op.residual) add_to_pixels(stream, op.shift.f32(), op.residual.f32(), g.n, g.oh * g.ow, g.k, y);
}

void conv2d_backward_data(Stream& stream, const Conv2dBackwardData& op) {
  const Conv2dGeometry g = op.geometry();
  input_gradient(stream, convolution_of(op, g, g.c1), op.dy, op.weight.f32(), op.dx, op.upsample);
  if (op.dx2)
    input_gradient(stream, convolution_of(op, g, g.c2), op.dy, op.weight.f32() + g.c1 * g.k, Out{op.dx2}, op.upsample);
}

void conv2d_backward_weights(Stream& stream, const Conv2dBackwardWeights& op) {
  const Conv2dGeometry g = op.geometry();
  const float* const dy = op.dy.f32();
  float* const dweight = op.dweight.f32();
  stream.primitives->convolution_backward_weights(convolution_of(op, g, g.c1), filter_input(stream, op.x, op.upsample),
                                                  dy, dweight, op.dbias.f32(), op.accumulate);
  if (op.x2)
    stream.primitives->convolution_backward_weights(convolution_of(op, g, g.c2),
                                                    filter_input(stream, op.x2, op.upsample), dy, dweight + g.c1 * g.k,
                                                    nullptr, op.accumulate);
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
