#include "core/ops/conv2d.h"

#include "cpu/conv2d_phases.h"
#include "cpu/conv2d_tail.h"
#include "cpu/float_types.h"
#include "cpu/linear.h"
#include "cpu/ops.h"
#include "cpu/parallel.h"
#include "cpu/runtime/primitives.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

enum Slot { kEnlarged = kFreeSlot, kSums, kFilter };

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

// Bytes of the weight before the rows that belong to x2.
int64_t before_second(const View& weight, const Conv2dGeometry& g) {
  return g.c1 * g.k * static_cast<int64_t>(bytes_of(weight.dtype));
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
void input_gradient(Stream& stream, Convolution shape, const View& dy, const Weight& weight, const Out& dx,
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

// A phase's filter, from the rows of one input on.
Weight phase_weight(Stream& stream, const View& weight, const Conv2dGeometry& g, int64_t index, int64_t offset) {
  return {weight, offset, 1 + index, [&stream, &weight, &g, index, offset]() -> const void* {
            const int64_t size = (g.c1 + g.c2) * g.k;
            const size_t bytes = static_cast<size_t>(4 * size) * bytes_of(weight.dtype);
            char* const filter = static_cast<char*>(stream.scratch.get(kFilter, bytes));
            with_float(weight.dtype, [&](auto type) {
              using T = decltype(type);
              sum_taps(stream, weight.as<T>(), size, index, reinterpret_cast<T*>(filter));
            });
            return filter + offset;
          }};
}

void forward_by_phases(Stream& stream, const Conv2d& op, const Conv2dGeometry& g) {
  const Precision precision = precision_of(op.x.dtype, DType::f32);
  const int64_t part = op.y.size() / kPhases;
  float* const sums = stream.scratch.floats(kSums, static_cast<size_t>(op.y.size()));
  for (int64_t index = 0; index < kPhases; ++index) {
    float* const y = sums + index * part;
    stream.primitives->convolution(phase_convolution(g, g.c1, index, precision), op.x.data,
                                   phase_weight(stream, op.weight, g, index, 0), op.bias.f32(), false, y);
    if (op.x2)
      stream.primitives->convolution(phase_convolution(g, g.c2, index, precision), op.x2.data,
                                     phase_weight(stream, op.weight, g, index, before_second(op.weight, g)), nullptr,
                                     true, y);
  }
  const PhaseOrder order{g.oh * g.ow, g.n, g.h / 2, g.w / 2};
  with_float(op.y.dtype, [&](auto type) { finish_sums<decltype(type)>(stream, op, order, sums); });
}

// dy sorted by phases.
const char* sorted(Stream& stream, const View& dy, const Conv2dGeometry& g) {
  auto* const to = static_cast<char*>(stream.scratch.get(kEnlarged, static_cast<size_t>(dy.bytes())));
  sort_by_phases(stream, dy.as<char>(), g.n, g.h / 2, g.w / 2, static_cast<size_t>(g.k) * bytes_of(dy.dtype), to);
  return to;
}

void data_by_phases(Stream& stream, const Conv2dBackwardData& op, const Conv2dGeometry& g) {
  const char* const dy = sorted(stream, op.dy, g);
  const auto gradient = [&](const View& dx, int64_t c, int64_t offset) {
    float* const parts = stream.scratch.floats(kSums, static_cast<size_t>(kPhases * dx.size()));
    for (int64_t index = 0; index < kPhases; ++index)
      stream.primitives->convolution_backward_data(
          phase_convolution(g, c, index, precision_of(op.dy.dtype, DType::f32)), dy + index * op.dy.bytes() / kPhases,
          phase_weight(stream, op.weight, g, index, offset), parts + index * dx.size());
    with_float(dx.dtype, [&](auto type) { add_phases(stream, parts, dx.size(), dx.as<decltype(type)>()); });
  };
  gradient(op.dx, g.c1, 0);
  if (op.dx2) gradient(op.dx2, g.c2, before_second(op.weight, g));
}

void weights_by_phases(Stream& stream, const Conv2dBackwardWeights& op, const Conv2dGeometry& g) {
  const char* const dy = sorted(stream, op.dy, g);
  const int64_t size = (g.c1 + g.c2) * g.k;
  float* const filters = stream.scratch.floats(kSums, static_cast<size_t>(4 * kPhases * size + kPhases * g.k));
  float* const biases = filters + 4 * kPhases * size;
  for (int64_t index = 0; index < kPhases; ++index) {
    const auto gradient = [&](const View& x, int64_t c, int64_t first, float* dbias) {
      stream.primitives->convolution_backward_weights(
          phase_convolution(g, c, index, precision_of(op.dy.dtype, DType::f32)), x.data,
          dy + index * op.dy.bytes() / kPhases, filters + 4 * index * size + first * g.k, dbias, false);
    };
    gradient(op.x, g.c1, 0, op.dbias ? biases + index * g.k : nullptr);
    if (op.x2) gradient(op.x2, g.c2, g.c1, nullptr);
  }
  spread_taps(stream, filters, size, op.accumulate, op.dweight.f32());
  for (int64_t k = 0; op.dbias && k < g.k; ++k) {
    const float sum = (biases[k] + biases[k + g.k]) + (biases[k + 2 * g.k] + biases[k + 3 * g.k]);
    op.dbias.f32()[k] = op.accumulate ? op.dbias.f32()[k] + sum : sum;
  }
}

bool pointwise(const Conv2dBackwardWeights& op, const Conv2dGeometry& g) {
  const bool padded = op.pad_top > 0 || op.pad_left > 0 || op.pad_bottom > 0 || op.pad_right > 0;
  return g.r == 1 && g.s == 1 && op.stride == 1 && !op.upsample && !padded;
}

// Of a 1×1 filter in f32, as one matrix product over all pixels: oneDNN's convolution takes up to twice as long when
// the images come from memory (Zen 5, oneDNN 2.6), and as long when they come from the caches.
void weights_by_product(Stream& stream, const Conv2dBackwardWeights& op, const Conv2dGeometry& g) {
  const int64_t pixels = g.n * g.h * g.w;
  const auto gradient = [&](const View& x, int64_t c, float* dweight) {
    weight_gradient(Conv2dBackwardWeights::name, pixels, c, g.k, x.f32(), op.dy.f32(), op.accumulate, dweight);
  };
  gradient(op.x, g.c1, op.dweight.f32());
  if (op.x2) gradient(op.x2, g.c2, op.dweight.f32() + g.c1 * g.k);
  if (op.dbias) sum_rows(stream, op.dy.f32(), pixels, g.k, op.accumulate, op.dbias.f32());
}

}  // namespace

// In bf16 the sums go through memory in f32, so that x2, the shift and the residual join them before the one rounding.
void conv2d(Stream& stream, const Conv2d& op) {
  const Conv2dGeometry g = op.geometry();
  if (by_phases(op, g)) return forward_by_phases(stream, op, g);
  const Precision precision = precision_of(op.x.dtype, DType::f32);
  float* const y =
      op.y.dtype == DType::f32 ? op.y.f32() : stream.scratch.floats(kSums, static_cast<size_t>(op.y.size()));
  stream.primitives->convolution(convolution_of(op, g, g.c1, precision), filter_input(stream, op.x, op.upsample),
                                 {op.weight}, op.bias.f32(), false, y);
  if (op.x2)
    stream.primitives->convolution(convolution_of(op, g, g.c2, precision), filter_input(stream, op.x2, op.upsample),
                                   {op.weight, before_second(op.weight, g)}, nullptr, true, y);
  const PlainOrder order{g.oh * g.ow};
  if (op.y.dtype == DType::bf16)
    finish_sums<Bf16>(stream, op, order, y);
  else if (op.sums)
    finish_sums<float>(stream, op, order, y);
  else if (op.shift || op.residual)
    add_to_pixels(stream, op.shift.f32(), op.residual.f32(), g.n, g.oh * g.ow, g.k, y);
}

void conv2d_backward_data(Stream& stream, const Conv2dBackwardData& op) {
  const Conv2dGeometry g = op.geometry();
  if (by_phases(op, g)) return data_by_phases(stream, op, g);
  const Precision precision = precision_of(op.dy.dtype, op.dx.dtype);
  input_gradient(stream, convolution_of(op, g, g.c1, precision), op.dy, {op.weight}, op.dx, op.upsample);
  if (op.dx2)
    input_gradient(stream, convolution_of(op, g, g.c2, precision), op.dy, {op.weight, before_second(op.weight, g)},
                   Out{op.dx2}, op.upsample);
}

void conv2d_backward_weights(Stream& stream, const Conv2dBackwardWeights& op) {
  const Conv2dGeometry g = op.geometry();
  if (by_phases(op, g)) return weights_by_phases(stream, op, g);
  if (op.dy.dtype == DType::f32 && pointwise(op, g)) return weights_by_product(stream, op, g);
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
