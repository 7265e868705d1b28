// 2-D convolution on tensor cores, bf16 with sums in f32 (mma_gemm.cuh, conv2d_mma.cuh).
//
//   y[(n, oh, ow), k] = Σ_(r, s, c) x[n, oh·stride + r − top, ow·stride + s − left, c] · weight[(r, s, c), k] + …
//   rows N·OH·OW   columns K   depth R·S·C
//   The 3 × 3 filter over an enlarged image: four phases of 2 × 2 taps over the image itself (conv2d_fold.cuh).
//
// Bytes: a tile of 128 (64) pixels and as many channels reads its windows R·S times, from the L2 cache where they
// overlap; x, weight and y pass through memory about once. Weights lie as they are stored, K quickest.
#include "cuda/conv2d_fold.cuh"
#include "cuda/conv2d_mma.cuh"

namespace diffusion::cuda {
namespace {

struct Operands {
  static constexpr bool kAlongA = true, kAlongB = false;
  PatchLines patches;
  const Bf16* weight;
  int k;
  bool wide_weight;
  bool folded;
  Window window;  // not folded

  struct Cursor {
    PatchLines::Cursor patch;
    const Bf16* weight;
    int depths, columns;  // that are left
  };
  DEVICE Window window_of(int phase) const { return folded ? Window{2, 2, 1 - phase / 2, 1 - phase % 2} : window; }
  DEVICE int depth(int) const { return (folded ? 4 : window.taps_r * window.taps_s) * patches.image.channels(); }

  template <class Share>
  DEVICE Cursor begin(int phase, int64_t row, int64_t column, int64_t first, const Share& a, const Share& b) const {
    const int at = static_cast<int>(first) + b.depth, all = depth(phase);
    const int64_t line = column + b.line, weight_row = static_cast<int64_t>(phase) * all + at;
    return {patches.begin(window_of(phase), row + a.line, a.line_step, first + a.depth), weight + weight_row * k + line,
            line < k ? all - at : 0, static_cast<int>(k - line)};
  }
  template <bool kWide>
  DEVICE void copy(Cursor& c, Chunk* a, Chunk* b, int a_second, int b_second) const {
    patches.copy<kWide>(c.patch, a, a_second);
    patches.advance(c.patch);
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const bool valid = c.depths > 16 * e;
      const Bf16* const from = c.weight + static_cast<int64_t>(16 * e) * k;
      if (kWide || wide_weight)
        cp_async_16(b + e * b_second, from, valid);
      else
        gather_chunk(b + e * b_second, from, valid ? c.columns : 0);
    }
    c.weight += static_cast<int64_t>(kSlabDepth) * k;
    c.depths -= kSlabDepth;
  }
};

}  // namespace

void conv2d_bf16(Stream& stream, const Conv2d& op) {
  const Conv2dGeometry g = op.geometry();
  const int64_t area = g.oh * g.ow, depth = g.r * g.s * (g.c1 + g.c2);
  const auto i = [](int64_t size) { return static_cast<int>(size); };
  const int k = i(g.k), oh = i(g.oh), ow = i(g.ow);

  const View y = op.y, residual = op.residual;
  WriteImage write{y.data,
                   nullptr,
                   k,
                   0,
                   y.dtype == DType::f32,
                   op.bias.f32(),
                   op.shift.f32(),
                   residual.as<const Bf16>(),
                   op.sums.f32(),
                   oh,
                   ow,
                   oh,
                   ow,
                   1,
                   g.n * area,
                   has_chunks(y.data, k) && has_chunks(residual.data, k),
                   has_chunks(op.bias.data, k) && has_chunks(op.shift.data, k)};
  Operands operands{{image_of(op.x, op.x2, i(g.h), i(g.w), op.upsample), op.stride, oh, ow, g.n * area},
                    op.weight.as<const Bf16>(),
                    k,
                    has_chunks(op.weight.data, k),
                    false,
                    {i(g.r), i(g.s), op.pad_top, op.pad_left}};
  const bool wide = operands.patches.image.wide && operands.wide_weight;

  if (wide && can_fold(op, g) && (!op.sums || area / 4 % kSumPixels == 0)) {
    operands.weight = fold_weight(stream, Conv2d::name, operands.weight, g.c1 + g.c2, g.k);
    operands.folded = true;
    operands.patches = {image_of(op.x, op.x2, oh / 2, ow / 2, false), 1, oh / 2, ow / 2, g.n * area / 4};
    write.grid_h = oh / 2, write.grid_w = ow / 2, write.step = 2, write.rows = g.n * area / 4;
    mma_image(stream, Conv2d::name, operands, write, 4 * (g.c1 + g.c2), true);
  } else {
    mma_image(stream, Conv2d::name, operands, write, depth, wide);
  }
}

}  // namespace diffusion::cuda
