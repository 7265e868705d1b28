#include "core/ops/conv2d.h"

#include <algorithm>

#include "cpu/ops.h"
#include "cpu/runtime/primitives.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

constexpr int kEnlarged = kFreeSlot;        // the image as the filter sees it when upsampling
constexpr int64_t kParallelSize = 1 << 15;  // elements; below, starting a team costs more than it gains

// The convolution over the channels of x, or of x2; both read rows of one weight of C1 + C2 input channels.
template <class Op>
Convolution convolution_of(const Op& op, const Conv2dGeometry& g, int64_t c) {
  return {g.n, g.h,         g.w,       c,          g.oh,        g.ow,          g.k,         g.r,
          g.s, g.c1 + g.c2, op.stride, op.pad_top, op.pad_left, op.pad_bottom, op.pad_right};
}

// y[n, 2h + i, 2w + j, c] = x[n, h, w, c]
void enlarge(const float* x, int64_t rows, int64_t w, int64_t c, float* y) {
#pragma omp parallel for schedule(static) if (4 * rows * w * c >= kParallelSize)
  for (int64_t row = 0; row < rows; ++row) {  // rows = N·H
    const float* from = x + row * w * c;
    float* to = y + row * 4 * w * c;
    for (int64_t column = 0; column < w; ++column)
      for (int64_t i = 0; i < 2; ++i) std::copy_n(from + column * c, c, to + (2 * column + i) * c);
    std::copy_n(to, 2 * w * c, to + 2 * w * c);
  }
}

// x[n, h, w, c] = Σ_ij y[n, 2h + i, 2w + j, c]
void sum_2x2(const float* y, int64_t rows, int64_t w, int64_t c, float* x) {
#pragma omp parallel for schedule(static) if (4 * rows * w * c >= kParallelSize)
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < w; ++column) {
      const float* top = y + (row * 4 * w + 2 * column) * c;
      const float* bottom = top + 2 * w * c;
      float* to = x + (row * w + column) * c;
      for (int64_t i = 0; i < c; ++i) to[i] = (top[i] + top[c + i]) + (bottom[i] + bottom[c + i]);
    }
}

// y[n, p, k] += shift[n, k] + residual[n, p, k], either may be absent. A pass of its own over y, which the caches still
// hold: the same sum as a post-operation made oneDNN's convolution 4–8 % slower, this costs 2 %.
void add_to_pixels(const float* shift, const float* residual, int64_t n, int64_t rows, int64_t w, int64_t k, float* y) {
#pragma omp parallel for collapse(2) schedule(static) if (n * rows * w * k >= kParallelSize)
  for (int64_t image = 0; image < n; ++image)
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < w; ++column) {
        const int64_t at = ((image * rows + row) * w + column) * k;
        float* const to = y + at;
        if (residual)
          for (int64_t i = 0; i < k; ++i) to[i] += residual[at + i];
        if (shift)
          for (int64_t i = 0; i < k; ++i) to[i] += shift[image * k + i];
      }
}

// The input as the filter sees it.
const float* enlarged(Stream& stream, const View& x, bool upsample) {
  if (!upsample) return x.f32();
  float* y = stream.scratch.floats(kEnlarged, static_cast<size_t>(4 * x.size()));
  enlarge(x.f32(), x.shape[0] * x.shape[1], x.shape[2], x.shape[3], y);
  return y;
}

// One of the two gradients with respect to the input; `weight` is its first row of input channels.
void input_gradient(Stream& stream, const Convolution& convolution, const View& dy, const float* weight, const View& dx,
                    bool upsample) {
  float* target = upsample ? stream.scratch.floats(kEnlarged, static_cast<size_t>(4 * dx.size())) : dx.f32();
  stream.primitives->convolution_backward_data(convolution, dy.f32(), weight, target);
  if (upsample) sum_2x2(target, dx.shape[0] * dx.shape[1], dx.shape[2], dx.shape[3], dx.f32());
}

}  // namespace

void conv2d(Stream& stream, const Conv2d& op) {
  const Conv2dGeometry g = op.geometry();
  Primitives& primitives = *stream.primitives;
  primitives.convolution(convolution_of(op, g, g.c1), enlarged(stream, op.x, op.upsample), op.weight.f32(),
                         op.bias.f32(), false, op.y.f32());
  if (op.x2)
    primitives.convolution(convolution_of(op, g, g.c2), enlarged(stream, op.x2, op.upsample),
                           op.weight.f32() + g.c1 * g.k, nullptr, true, op.y.f32());
  if (op.shift || op.residual) add_to_pixels(op.shift.f32(), op.residual.f32(), g.n, g.oh, g.ow, g.k, op.y.f32());
}

void conv2d_backward_data(Stream& stream, const Conv2dBackwardData& op) {
  const Conv2dGeometry g = op.geometry();
  input_gradient(stream, convolution_of(op, g, g.c1), op.dy, op.weight.f32(), op.dx, op.upsample);
  if (op.dx2)
    input_gradient(stream, convolution_of(op, g, g.c2), op.dy, op.weight.f32() + g.c1 * g.k, op.dx2, op.upsample);
}

void conv2d_backward_weights(Stream& stream, const Conv2dBackwardWeights& op) {
  const Conv2dGeometry g = op.geometry();
  Primitives& primitives = *stream.primitives;
  primitives.convolution_backward_weights(convolution_of(op, g, g.c1), enlarged(stream, op.x, op.upsample), op.dy.f32(),
                                          op.dweight.f32(), op.dbias.f32(), op.accumulate);
  if (op.x2)
    primitives.convolution_backward_weights(convolution_of(op, g, g.c2), enlarged(stream, op.x2, op.upsample),
                                            op.dy.f32(), op.dweight.f32() + g.c1 * g.k, nullptr, op.accumulate);
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
