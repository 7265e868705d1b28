// Weight gradient of the 2-D convolution on tensor cores: bf16 in, sums and gradients in f32 (mma_gemm.cuh).
//
//   dweight[(r, s, c), k] (+)= Σ_(n, oh, ow) x[n, oh·stride + r − top, ow·stride + s − left, c] · dy[n, oh, ow, k]
//   dbias[k] (+)= Σ_(n, oh, ow) dy[n, oh, ow, k]
//   rows R·S·C   columns K   depth N·OH·OW, in parts that the shape fixes; added up in order by a second kernel
//
// Both operands lie across: 8 channels of a pixel are a chunk, a depth a pixel. dbias falls off while the first row of
// tiles multiplies. The 3 × 3 filter over an enlarged image (conv2d_fold.cuh): the gradients of the four phases' 2 × 2
// filters, of which each weight then takes four.
//
// Scratch: slot 0 the parts of dweight (a few hundred tiles: ≤ 34 MB or one copy), slot 1 those of dbias.
#include "cuda/conv2d_fold.cuh"
#include "cuda/conv2d_mma.cuh"
#include "cuda/gemm_parts.cuh"

namespace diffusion::cuda {
namespace {

struct Operands {
  static constexpr bool kAlongA = false, kAlongB = false;
  Image image;
  const Bf16* dy;
  bool wide_dy;
  int k, r, s, top, left, stride;
  int oh, ow;      // of a phase; dy has `steps` times as many rows and columns
  int steps;       // 2: folded
  int64_t pixels;  // of a phase
  Odometer half;   // half a slab as (n, oh, ow)

  struct Cursor {
    const Bf16* from;  // the thread's channel of x, the first pixel
    int pitch;
    Odometer tap;     // of its line
    int row, column;  // of the tap, from the pixel's
    bool exists;      // the line
    Odometer pixel;   // of the first chunk, half a slab before the second's
    int depths;       // that are left
    const Bf16* dy;   // the thread's channel of dy, the phase's first pixel
    int columns;      // that are left
  };
  DEVICE int64_t depth(int) const { return pixels; }

  template <class Share>
  DEVICE Cursor begin(int phase, int64_t row, int64_t column, int64_t first, const Share& a, const Share& b) const {
    const int p = phase / steps, q = phase % steps;
    const int64_t line = row + a.line, at = first + a.depth, left_over = pixels - at;
    const Odometer tap = odometer(line, s, image.channels());
    return {image.channel(tap.low),
            image.pitch(tap.low),
            tap,
            tap.high - (top - p),
            tap.middle - (left - q),
            tap.high < r,
            odometer(at, oh, ow),
            static_cast<int>(left_over < (1 << 30) ? left_over : 1 << 30),  // a part is shorter
            dy + (static_cast<int64_t>(p) * ow * steps + q) * k + column + b.line,
            static_cast<int>(k - (column + b.line))};
  }
  DEVICE Odometer advanced(Odometer at) const {
    at.low += half.low, at.middle += half.middle, at.high += half.high;
    if (at.low >= ow) at.low -= ow, ++at.middle;
    if (at.middle >= oh) at.middle -= oh, ++at.high;
    return at;
  }
  // Index is uint32_t where it can number all pixels.
  template <class Index>
  DEVICE Index pixel_of_dy(const Odometer& at) const {
    return (static_cast<Index>(at.high) * oh + at.middle) * (ow * steps * steps) + at.low * steps;
  }
  template <class Index>
  DEVICE static const Bf16* at(const Bf16* first, Index pixel, int pitch) {
    return reinterpret_cast<const Bf16*>(reinterpret_cast<const char*>(first) +
                                         static_cast<uint64_t>(pixel) * static_cast<uint32_t>(2 * pitch));
  }
  template <bool kWide>
  DEVICE void copy(Cursor& c, Chunk* a, Chunk* b, int a_second, int b_second) const {
    using Index = std::conditional_t<kWide, uint32_t, uint64_t>;
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const Odometer pixel = c.pixel;
      const bool pixel_exists = c.depths > kSlabDepth / 2 * e;
      const int row = pixel.middle * stride + c.row, column = pixel.low * stride + c.column;
      const int64_t first = kWide ? 0 : image.first_pixel(pixel.high);
      if (kWide || image.wide) {
        const Index index = kWide ? (static_cast<Index>(pixel.high) * image.h + row) * image.w + column
                                  : static_cast<Index>(image.pixel(first, row, column));
        cp_async_16(a + e * a_second, at(c.from, index, c.pitch), pixel_exists && c.exists && image.holds(row, column));
      } else {
        Odometer tap = c.tap;
        gather_chunk(a + e * a_second, [&](int) {
          Bf16 value{0};
          const int i = row + tap.high - c.tap.high, j = column + tap.middle - c.tap.middle;
          if (pixel_exists && tap.high < r && image.holds(i, j))
            value = image.channel(tap.low)[image.pixel(first, i, j) * image.pitch(tap.low)];
          step(tap, 1, s, image.channels());
          return value;
        });
      }
      const Bf16* const from = at(c.dy, pixel_of_dy<Index>(pixel), k);
      if (kWide || wide_dy)
        cp_async_16(b + e * b_second, from, pixel_exists && c.columns > 0);
      else
        gather_chunk(b + e * b_second, from, pixel_exists ? c.columns : 0);
      c.pixel = advanced(pixel);
    }
    c.depths -= kSlabDepth;
  }
};

// Straight to the gradients, where nothing is to be added up.
struct WriteGradient {
  static constexpr bool kStatistics = false, kColumnSums = true;
  float* dweight;
  int64_t columns;
  bool accumulate, wide;
  float* column_sums;  // [parts][phases][columns]; null: not wanted

  struct Ahead {
    int64_t row;
  };
  DEVICE Eight constants(int64_t) const { return {}; }
  DEVICE Ahead ahead(int, int64_t row, int64_t) const { return {row}; }
  DEVICE void operator()(const Ahead& at, int64_t column, const Eight&, Eight& sum) const {
    float* const to = dweight + at.row * columns + column;
    if (accumulate) add_eight(sum, to, columns - column, wide);
    write_eight(to, sum, columns - column, wide);
  }
  DEVICE float* column_sums_of(int part, int phase, int phases) const {
    return column_sums + (static_cast<int64_t>(part) * phases + phase) * columns;
  }
};

inline constexpr int kAddThreads = 256;

// dweight[r, s, c, k] (+)= Σ_parts partials; folded: Σ over the phases too, each with the tap that (r, s) falls onto.
KERNEL(kAddThreads)
add_partials_kernel(Partials partials, bool folded, int64_t channels, int64_t columns, int64_t size, bool accumulate,
                    float* dweight) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kAddThreads;
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * kAddThreads + threadIdx.x; at < size; at += step) {
    const int64_t line = at / columns, column = at % columns;
    const int tap = static_cast<int>(line / channels);
    float sum = 0;
    if (folded) {
      for (int part = 0; part < partials.parts; ++part)
#pragma unroll
        for (int phase = 0; phase < 4; ++phase) {
          const int onto = folded_tap(phase / 2, tap / 3) * 2 + folded_tap(phase % 2, tap % 3);
          sum += *partials.at(part, phase, line + (onto - tap) * channels, column);
        }
    } else {
#pragma unroll 8
      for (int part = 0; part < partials.parts; ++part) sum += *partials.at(part, 0, line, column);
    }
    dweight[at] = accumulate ? dweight[at] + sum : sum;
  }
}

}  // namespace

void conv2d_backward_weights_bf16(Stream& stream, const Conv2dBackwardWeights& op) {
  constexpr int64_t kBlocks = 264;  // two for each multiprocessor of a large GPU
  const Conv2dGeometry g = op.geometry();
  const auto i = [](int64_t size) { return static_cast<int>(size); };
  const char* const name = Conv2dBackwardWeights::name;
  const int64_t channels = g.c1 + g.c2;

  Operands operands{image_of(op.x, op.x2, i(g.h), i(g.w), op.upsample),
                    op.dy.as<const Bf16>(),
                    has_chunks(op.dy.data, g.k),
                    i(g.k),
                    i(g.r),
                    i(g.s),
                    op.pad_top,
                    op.pad_left,
                    op.stride,
                    i(g.oh),
                    i(g.ow),
                    1,
                    g.n * g.oh * g.ow,
                    {}};
  const bool aligned = operands.image.wide && operands.wide_dy, folded = aligned && can_fold(op, g);
  const bool wide = aligned && (folded || !op.upsample) && std::max(g.n * g.h * g.w, operands.pixels) <= UINT32_MAX;
  if (folded) {
    operands.image = image_of(op.x, op.x2, i(g.h / 2), i(g.w / 2), false);
    operands.r = operands.s = operands.steps = 2;
    operands.oh /= 2, operands.ow /= 2, operands.pixels /= 4;
  }
  constexpr int kHalf = kSlabDepth / 2;
  operands.half = {kHalf / operands.ow / operands.oh, kHalf / operands.ow % operands.oh, kHalf % operands.ow};
  const int64_t rows = operands.r * operands.s * channels, size = g.r * g.s * channels * g.k;
  const int phases = operands.steps * operands.steps;

  const Cut cut = cut_product(rows, g.k, operands.pixels, phases, wide, kBlocks, kShortestPart, true);
  Partials partials{nullptr, i(cut.parts), operands.steps, cut.span, rows, (g.k + kChunk - 1) / kChunk * kChunk};
  const bool direct = cut.parts * phases == 1;
  if (!direct)
    partials.data = stream.scratch_floats(0, static_cast<size_t>(cut.parts * phases * rows * partials.pitch));
  WriteGradient write{op.dweight.f32(), g.k, op.accumulate, has_chunks(op.dweight.data, g.k), nullptr};
  if (op.dbias) write.column_sums = stream.scratch_floats(1, static_cast<size_t>(cut.parts * phases * g.k));
  mma_gemm(stream, name, operands, write, partials, rows, g.k, cut.large, wide);

  if (!direct) {
    const int64_t blocks = std::min<int64_t>((size + kAddThreads - 1) / kAddThreads, 8192);
    LAUNCH((add_partials_kernel), dim3(static_cast<unsigned>(blocks)), dim3(kAddThreads), 0, stream.handle, partials,
           folded, channels, g.k, size, op.accumulate, op.dweight.f32());
    check_launch(name);
  }
  if (op.dbias) add_parts(stream, name, write.column_sums, cut.parts * phases, g.k, op.accumulate, op.dbias.f32());
}

}  // namespace diffusion::cuda
