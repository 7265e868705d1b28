#include "core/ops/conv2d.h"

#include "cpu/conv2d_tail.h"
#include "cpu/float_types.h"
#include "cpu/ops.h"
#include "cpu/parallel.h"
#include "cpu/runtime/primitives.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

enum Slot { kEnlarged = kFreeSlot, kSums };

Precision precision_of(DType operands, DType result) {
  if (operands == DType::f32) return Precision::f32;
  return result == DType::f32 ? Precision::bf16_to_f32 : Precision::bf16;
}

// The convolution over the channels of x, or of x2; both read rows of one weight of C1 + C2 input channels.
template <class Op>
Convolution convolution_of(const Op& op, const Conv2dGeometry& g, int64_t c, Precision precision) {
  return {g.n, g.h,         g.w,       c,          g.oh,        g.ow,          g.k,          g.r,
          g.s, g.c1 + g.c2, op.stride, op.pad_top, op.pad_left, op.pad_bottom, op.pad_right, precision};
}

// The rows of the weight that belong to x2.
const void* second(const View& weight, const Conv2dGeometry& g) {
  return weight.as<char>() + g.c1 * g.k * static_cast<int64_t>(bytes_of(weight.dtype));
}

// Room for the image as the filter sees it when upsampling.
template <class Operand>
Operand enlarged(Stream& stream, const View& x, DType dtype) {
  Operand large;
  static_cast<View&>(large) = x;
  large.shape[1] *= 2;
  large.shape[2] *= 2;
  large.dtype = dtype;
  large.data = stream.scratch.get(kEnlarged, static_cast<size_t>(large.bytes()));
  return large;
}

// The input as the filter sees it.
const void* filter_input(Stream& stream, const View& x, bool enlarge) {
  if (!enlarge) return x.data;
  const Out large = enlarged<Out>(stream, x, x.dtype);
  upsample(stream, {In{x}, large});
  return large.data;
}

// dx of one input; `weight` starts at its first channel. Where pixels are summed afterwards, they are not rounded
// before.
void input_gradient(Stream& stream, Convolution shape, const View& dy, const void* weight, const Out& dx,
                    bool enlarge) {
  if (!enlarge) {
    stream.primitives->convolution_backward_data(shape, dy.data, weight, dx.data);
    return;
  }
  shape.precision = precision_of(dx.dtype, DType::f32);
  const In large = enlarged<In>(stream, dx, DType::f32);
  stream.primitives->convolution_backward_data(shape, dy.data, weight, large.data);
  upsample_backward(stream, {large, dx});
}

}  // namespace

// In bf16 the sums go through memory in f32, so that x2, the shift and the residual join them before the one rounding.
void conv2d(Stream& stream, const Conv2d& op) {
  const Conv2dGeometry g = op.geometry();
  const Precision precision = precision_of(op.x.dtype, DType::f32);
  float* const y =
      op.y.dtype == DType::f32 ? op.y.f32() : stream.scratch.floats(kSums, static_cast<size_t>(op.y.size()));
  stream.primitives->convolution(convolution_of(op, g, g.c1, precision), filter_input(stream, op.x, op.upsample),
                                 op.weight.data, op.bias.f32(), false, y);
  if (op.x2)
    stream.primitives->convolution(convolution_of(op, g, g.c2, precision), filter_input(stream, op.x2, op.upsample),
                                   second(op.weight, g), nullptr, true, y);
  if (op.y.dtype == DType::bf16)
    finish_sums<Bf16>(stream, op, g.oh * g.ow, y);
  else if (op.sums)
    finish_sums<float>(stream, op, g.oh * g.ow, y);
  else if (op.shift || op.residual)
    add_to_pixels(stream, op.shift.f32(), op.residual.f32(), g.n, g.oh * g.ow, g.k, y);
}

void conv2d_backward_data(Stream& stream, const Conv2dBackwardData& op) {
  const Conv2dGeometry g = op.geometry();
  const Precision precision = precision_of(op.dy.dtype, op.dx.dtype);
  input_gradient(stream, convolution_of(op, g, g.c1, precision), op.dy, op.weight.data, op.dx, op.upsample);
  if (op.dx2)
    input_gradient(stream, convolution_of(op, g, g.c2, precision), op.dy, second(op.weight, g), Out{op.dx2},
                   op.upsample);
}

void conv2d_backward_weights(Stream& stream, const Conv2dBackwardWeights& op) {
  const Conv2dGeometry g = op.geometry();
  const Precision precision = precision_of(op.dy.dtype, DType::f32);
  float* const dweight = op.dweight.f32();
  stream.primitives->convolution_backward_weights(convolution_of(op, g, g.c1, precision),
                                                  filter_input(stream, op.x, op.upsample), op.dy.data, dweight,
                                                  op.dbias.f32(), op.accumulate);
  if (op.x2)
    stream.primitives->convolution_backward_weights(convolution_of(op, g, g.c2, precision),
                                                    filter_input(stream, op.x2, op.upsample), op.dy.data,
                                                    dweight + g.c1 * g.k, nullptr, op.accumulate);
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
