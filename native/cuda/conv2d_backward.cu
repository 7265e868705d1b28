// Gradients of the 2-D convolution in f32, as matrix products (gemm.cuh, conv2d.cuh); in bf16: conv2d_mma_data.cu,
// conv2d_mma_weights.cu.
//
//   dx[(n, i, j), c] = Σ_(r, s, k) dy[n, (i + top − r)/stride, (j + left − s)/stride, k] · weight[r, s, c, k]
//     over the taps where both quotients are whole;  rows N·H·W   columns C1 + C2 (dx, then dx2)   depth R·S·K
//     upsampling: (i, j) runs over the 2 × 2 pixels made of one of x, which makes the depth 2R·2S·K
//   dweight[(r, s, c), k] = Σ_(n, oh, ow) x[n, oh·stride + r − top, ow·stride + s − left, c] · dy[n, oh, ow, k]
//     rows R·S·C   columns K   depth N·OH·OW, in parts (gemm_parts.cuh)
//   dbias[k] = Σ_(n, oh, ow) dy[n, oh, ow, k]
//
// Each element of dx gathers what it is made of, so the order of its sum is fixed. With stride > 1 most of the terms
// are zeros, stride² − 1 of stride².
#include "cuda/conv2d.cuh"
#include "cuda/gemm_parts.cuh"
#include "cuda/ops.h"

namespace diffusion::cuda {
namespace {

// Filter taps as a pixel of x sees them: rows 0 … R−1 from the upper of the pixels it is enlarged to, R … 2R−1 from the
// lower; columns likewise.
struct Tap {
  int row, column, lower, right;
};

DEVICE Tap tap_of(const ConvGeometry& g, const Odometer& at) {
  const int lower = at.high >= g.r, right = at.middle >= g.s;
  return {at.high - lower * g.r, at.middle - right * g.s, lower, right};
}

// The output index whose window has its tap at `distance` from its first pixel; −1: there is none.
DEVICE int output_index(int distance, int stride, int size) {
  if (distance < 0) return -1;
  const int index = stride == 1 ? distance : distance / stride;
  return index < size && index * stride == distance ? index : -1;
}

// dy as the pixels of x see it: lines (n, i, j), depths (r, s, k).
struct OutputGradient {
  static constexpr bool kAlong = true;
  ConvGeometry g;
  const float* dy;
  int64_t pixels;
  bool wide;

  struct Cursor {
    int sample, i, j;
    Odometer tap;  // (r, s, k)
    int rows;
  };
  DEVICE Cursor begin(int64_t pixel, int64_t depth, int64_t) const {
    const Odometer at = odometer(pixel, g.h >> g.enlarge, g.w >> g.enlarge);
    return {at.high, (at.middle << g.enlarge) + g.top, (at.low << g.enlarge) + g.left,
            odometer(depth, g.s << g.enlarge, g.k), pixel < pixels ? g.r << g.enlarge : 0};
  }
  DEVICE const float* find(const Cursor& c, const Odometer& at) const {
    if (at.high >= c.rows) return nullptr;
    const Tap tap = tap_of(g, at);
    const int oh = output_index(c.i + tap.lower - tap.row, g.stride, g.oh);
    const int ow = output_index(c.j + tap.right - tap.column, g.stride, g.ow);
    if (oh < 0 || ow < 0) return nullptr;
    return dy + ((static_cast<int64_t>(c.sample) * g.oh + oh) * g.ow + ow) * g.k + at.low;
  }
  DEVICE Quad next(Cursor& c) const {
    const Quad q = gather(c.tap, g.s << g.enlarge, g.k, wide, [&](const Odometer& tap) { return find(c, tap); });
    c.tap.advance(kSlab, g.s << g.enlarge, g.k);
    return q;
  }
};

// The weight turned: lines c, depths (r, s, k).
struct TurnedWeight {
  static constexpr bool kAlong = true;
  ConvGeometry g;
  const float* weight;
  bool wide;

  struct Cursor {
    int c;
    Odometer tap;
    int rows;
  };
  DEVICE Cursor begin(int64_t c, int64_t depth, int64_t) const {
    return {static_cast<int>(c), odometer(depth, g.s << g.enlarge, g.k), c < g.channels() ? g.r << g.enlarge : 0};
  }
  DEVICE const float* find(const Cursor& c, const Odometer& at) const {
    if (at.high >= c.rows) return nullptr;
    const Tap tap = tap_of(g, at);
    return weight + (static_cast<int64_t>(tap.row * g.s + tap.column) * g.channels() + c.c) * g.k + at.low;
  }
  DEVICE Quad next(Cursor& c) const {
    const Quad q = gather(c.tap, g.s << g.enlarge, g.k, wide, [&](const Odometer& tap) { return find(c, tap); });
    c.tap.advance(kSlab, g.s << g.enlarge, g.k);
    return q;
  }
};

// x as the weights see it: lines (r, s, c), depths (n, oh, ow).
struct Windows {
  static constexpr bool kAlong = false;
  ConvInput input;
  bool wide;

  struct Cursor {
    Odometer tap;    // (r, s, c) of the first of four lines
    Odometer pixel;  // (n, oh, ow)
    int64_t left;    // depths
  };
  DEVICE Cursor begin(int64_t line, int64_t depth, int64_t end) const {
    const ConvGeometry& g = input.g;
    return {odometer(line, g.s, g.channels()), odometer(depth, g.oh, g.ow), end - depth};
  }
  DEVICE const float* find(const Odometer& pixel, const Odometer& tap) const {
    const ConvGeometry& g = input.g;
    if (tap.high >= g.r) return nullptr;
    return input.find(pixel.high, pixel.middle * g.stride - g.top + tap.high,
                      pixel.low * g.stride - g.left + tap.middle, tap.low);
  }
  DEVICE Quad next(Cursor& c) const {
    const ConvGeometry& g = input.g;
    Quad q = {};
    if (c.left > 0) q = gather(c.tap, g.s, g.channels(), wide, [&](const Odometer& tap) { return find(c.pixel, tap); });
    c.pixel.advance(kSlab, g.oh, g.ow);
    c.left -= kSlab;
    return q;
  }
};

// One matrix of C1 + C2 columns, written to two.
struct WritePair {
  float *dx, *dx2;
  int c1, c2;
  bool wide;

  DEVICE void operator()(int, int64_t row, int64_t column, const Quad& sum) const {
    if (wide && column < c1) {
      write_quad(dx + row * c1 + column, 4, true, sum);
    } else if (wide) {
      write_quad(dx2 + row * c2 + column - c1, 4, true, sum);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int64_t c = column + i;
        if (c < c1)
          dx[row * c1 + c] = sum.at[i];
        else if (c < c1 + c2)
          dx2[row * c2 + c - c1] = sum.at[i];
      }
    }
  }
};

}  // namespace

void conv2d_backward_data(Stream& stream, const Conv2dBackwardData& op) {
  if (op.dy.dtype == DType::bf16) return conv2d_backward_data_bf16(stream, op);
  const Conv2dGeometry size = op.geometry();
  const ConvGeometry g = conv_geometry(op, size);
  const int64_t pixels = op.dx.rows();
  gemm(stream, Conv2dBackwardData::name, OutputGradient{g, op.dy.f32(), pixels, can_be_wide(op.dy.data, size.k)},
       TurnedWeight{g, op.weight.f32(), can_be_wide(op.weight.data, size.k)},
       WritePair{op.dx.f32(), op.dx2.f32(), g.c1, g.c2, can_be_wide(g, op.dx.data, op.dx2.data)}, pixels,
       size.c1 + size.c2, (size.r << g.enlarge) * (size.s << g.enlarge) * size.k);
}

void conv2d_backward_weights(Stream& stream, const Conv2dBackwardWeights& op) {
  if (op.x.dtype == DType::bf16) return conv2d_backward_weights_bf16(stream, op);
  const Conv2dGeometry size = op.geometry();
  const ConvGeometry g = conv_geometry(op, size);
  const int64_t pixels = size.n * size.oh * size.ow;
  const Windows windows{{g, op.x.f32(), op.x2.f32()}, can_be_wide(g, op.x.data, op.x2.data)};
  weight_gradient(stream, Conv2dBackwardWeights::name, windows, matrix<false>(op.dy.f32(), size.k, size.k),
                  size.r * size.s * (size.c1 + size.c2), size.k, pixels, op.accumulate, op.dweight.f32());
  if (op.dbias)
    sum_rows(stream, Conv2dBackwardWeights::name, op.dy.f32(), pixels, size.k, op.accumulate, op.dbias.f32());
}

}  // namespace diffusion::cuda
