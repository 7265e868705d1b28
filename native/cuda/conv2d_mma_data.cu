// Data gradient of the 2-D convolution on tensor cores, bf16 with sums in f32 (mma_gemm.cuh, conv2d_mma.cuh).
//
//   dx[(n, i, j), c] = Σ_(r, s, k) dy[n, (i + top − r)/stride, (j + left − s)/stride, k] · weight[r, s, c, k]
//     over the taps where both quotients are whole
//   rows: pixels of x   columns C1 + C2 (dx, then dx2)   depth: taps · K
//
// The pixels i ≡ p (mod stride) see the taps r ≡ p + top alone: a phase (p, q) for each of them and of the columns,
// with its own filter of about R/stride × S/stride taps over dy, turned around. Nothing is multiplied with zeros in
// between. With folded weights (conv2d_fold.cuh) a pixel of x sees 4 × 4 pixels of dy, two pixels of dy further for
// each of its own: one phase. Another enlarged image gets its gradient in f32 in scratch, which is then summed over 2 ×
// 2 pixels.
#include "cuda/conv2d_fold.cuh"
#include "cuda/conv2d_mma.cuh"

namespace diffusion::cuda {
namespace {

struct Operands {
  static constexpr bool kAlongA = true, kAlongB = true;
  PatchLines patches;
  const Bf16* weight;
  int c, r, s, top, left, stride;
  bool folded;

  struct Cursor {
    PatchLines::Cursor patch;
    const Bf16* from;    // weights of the thread's first line, at the cursor's tap
    int line;            // the first
    int last_r, last_s;  // the filter's tap that is the phase's first
  };
  // How many taps an axis has, where they begin and which is the last to be met, in a phase.
  DEVICE int taps(int filter, int first) const { return (filter - first + stride - 1) / stride; }
  DEVICE int depth(int phase) const {
    const int k = patches.image.c1;
    if (folded) return 16 * k;
    return taps(r, (phase / stride + top) % stride) * taps(s, (phase % stride + left) % stride) * k;
  }

  template <class Share>
  DEVICE Cursor begin(int phase, int64_t row, int64_t column, int64_t first, const Share& a, const Share& b) const {
    const int p = phase / stride + top, q = phase % stride + left, taps_r = taps(r, p % stride),
              taps_s = taps(s, q % stride);
    const Window window =
        folded ? Window{4, 4, 1, 1} : Window{taps_r, taps_s, taps_r - 1 - p / stride, taps_s - 1 - q / stride};
    Cursor cursor{patches.begin(window, row + a.line, a.line_step, first + a.depth), nullptr,
                  static_cast<int>(column + b.line), p % stride + stride * (taps_r - 1),
                  q % stride + stride * (taps_s - 1)};
    cursor.from = find(cursor, cursor.patch.tap);
    return cursor;
  }
  DEVICE const Bf16* find(const Cursor& cursor, const Odometer& tap) const {
    const int at = folded ? 15 - (tap.high % 2 * 8 + tap.middle % 2 * 4 + tap.high / 2 * 2 + tap.middle / 2)
                          : (cursor.last_r - stride * tap.high) * s + cursor.last_s - stride * tap.middle;
    return weight + (static_cast<int64_t>(at) * c + cursor.line) * patches.image.c1 + tap.low;
  }
  template <bool kWide>
  DEVICE void copy(Cursor& cursor, Chunk* a, Chunk* b, int a_second, int b_second) const {
    const int k = patches.image.c1, line_step = a_second / 4;
    const PatchLines::Cursor& patch = cursor.patch;
    patches.copy<kWide>(patch, a, a_second);
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const bool line_exists = cursor.line + e * line_step < c;
      if (kWide || patches.image.wide) {
        cp_async_16(b + e * b_second, cursor.from + static_cast<int64_t>(e * line_step) * k,
                    line_exists && patch.tap.high < patch.taps_r);
      } else {
        Odometer tap = patch.tap;
        gather_chunk(b + e * b_second, [&](int) {
          Bf16 value{0};
          if (line_exists && tap.high < patch.taps_r)
            value = find(cursor, tap)[static_cast<int64_t>(e * line_step) * k];
          step(tap, 1, patch.taps_s, k);
          return value;
        });
      }
    }
    if (patches.advance(cursor.patch))
      cursor.from = find(cursor, cursor.patch.tap);
    else
      cursor.from += kSlabDepth;
  }
};

inline constexpr int kSumThreads = 256;

// dx[n, i, j, c] = Σ over 2 × 2 pixels of `enlarged` [N, 2H, 2W, C1 + C2], which become dx and dx2.
KERNEL(kSumThreads)
sum_enlarged_kernel(const float* enlarged, int64_t pixels, int w, int c1, int c2, Bf16* dx, Bf16* dx2) {
  const int64_t all = c1 + c2, size = pixels * all, step = static_cast<int64_t>(gridDim.x) * kSumThreads;
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * kSumThreads + threadIdx.x; at < size; at += step) {
    const int64_t pixel = at / all, c = at % all, row = pixel / w;  // of all samples
    const float* const from = enlarged + (row * 4 * w + pixel % w * 2) * all + c;
    const Bf16 sum = to_bf16((from[0] + from[all]) + (from[2 * w * all] + from[(2 * w + 1) * all]));
    if (c < c1)
      dx[pixel * c1 + c] = sum;
    else
      dx2[pixel * c2 + c - c1] = sum;
  }
}

}  // namespace

void conv2d_backward_data_bf16(Stream& stream, const Conv2dBackwardData& op) {
  const Conv2dGeometry g = op.geometry();
  const auto i = [](int64_t size) { return static_cast<int>(size); };
  const char* const name = Conv2dBackwardData::name;
  const int k = i(g.k), c1 = i(g.c1), c2 = i(g.c2), stride = op.stride;
  Operands operands{{image_of(op.dy, View{}, i(g.oh), i(g.ow), false), 1, 0, 0, 0},
                    op.weight.as<const Bf16>(),
                    c1 + c2,
                    i(g.r),
                    i(g.s),
                    op.pad_top,
                    op.pad_left,
                    stride,
                    false};
  operands.patches.image.wide = operands.patches.image.wide && has_chunks(operands.weight, k);
  const bool wide = operands.patches.image.wide;

  WriteImage write{op.dx.data, op.dx2.data, c1, c2};
  write.wide_image = has_chunks(op.dx.data, c1) && has_chunks(op.dx2.data, c2);
  write.h = i(g.h), write.w = i(g.w), write.step = stride;
  int64_t depth = (g.r + stride - 1) / stride * ((g.s + stride - 1) / stride) * k;

  const bool fold = wide && can_fold(op, g), enlarged = op.upsample && !fold;
  if (fold) {
    operands.weight = fold_weight(stream, name, operands.weight, g.c1 + g.c2, g.k);
    operands.folded = true;
    operands.patches.stride = 2;
    write.h /= 2, write.w /= 2;
    depth = 16 * k;
  } else if (enlarged) {
    write.y = stream.scratch_floats(2, static_cast<size_t>(g.n * g.h * g.w * (g.c1 + g.c2)));
    write.y2 = nullptr, write.c1 = c1 + c2, write.c2 = 0, write.f32 = true;
    write.wide_image = has_chunks(write.y, write.c1);
  }
  write.grid_h = (write.h + stride - 1) / stride, write.grid_w = (write.w + stride - 1) / stride;
  write.rows = g.n * write.grid_h * write.grid_w;
  operands.patches.grid_h = write.grid_h, operands.patches.grid_w = write.grid_w, operands.patches.rows = write.rows;
  mma_image(stream, name, operands, write, depth, wide);

  if (!enlarged) return;
  const int64_t pixels = op.dx.rows();
  const int64_t blocks = std::min<int64_t>((pixels * (g.c1 + g.c2) + kSumThreads - 1) / kSumThreads, 8192);
  LAUNCH((sum_enlarged_kernel), dim3(static_cast<unsigned>(blocks)), dim3(kSumThreads), 0, stream.handle,
         static_cast<const float*>(write.y), pixels, i(g.w / 2), c1, c2, op.dx.as<Bf16>(), op.dx2.as<Bf16>());
  check_launch(name);
}

}  // namespace diffusion::cuda
