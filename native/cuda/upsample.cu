// Nearest-neighbour enlargement by 2 (core/ops/upsample.h).
//   y[n, 2h + i, 2w + j, c] = x[n, h, w, c];   dx[n, h, w, c] = Σ_ij dy[n, 2h + i, 2w + j, c]
//   x, dx [N, H, W, C]     y, dy [N, 2H, 2W, C], f32 or bf16 with sums in f32
//   a thread for every 16 bytes of a small pixel; five accesses an element of the small image either way
#include "core/ops/upsample.h"
#include "cuda/dispatch.cuh"
#include "cuda/ops.h"
#include "cuda/runs.cuh"
#include "cuda/words.cuh"

namespace diffusion::cuda {
namespace {

// The four pixels of the large image over pixel `row` = (n·H + h)·W + w of the small one.
struct Pixels {
  int64_t width, channels;

  DEVICE int64_t first(int64_t row) const {  // [n, 2h, 2w, 0]
    const int64_t line = row / width, w = row % width;
    return (4 * line * width + 2 * w) * channels;
  }
  DEVICE int64_t below() const { return 2 * width * channels; }
};

template <class Word>
struct Enlarge {
  const Word* x;
  Word* y;
  Pixels pixels;  // their channels in words

  DEVICE void operator()(int64_t row, int64_t channel, int) const {
    const Word word = x[row * pixels.channels + channel];
    Word* above = y + pixels.first(row) + channel;
    Word* below = above + pixels.below();
    above[0] = word;
    above[pixels.channels] = word;
    below[0] = word;
    below[pixels.channels] = word;
  }
};

template <class T>
struct Gather4 {
  static constexpr int n = kPack<T>;
  const T* dy;
  T* dx;
  Pixels pixels;
  bool whole;

  DEVICE void operator()(int64_t row, int64_t channel, int count) const {
    const T* above = dy + pixels.first(row) + channel;
    const T* below = above + pixels.below();
    const Pack<float, n> a = load_floats<n>(above, count, whole);
    const Pack<float, n> b = load_floats<n>(above + pixels.channels, count, whole);
    const Pack<float, n> c = load_floats<n>(below, count, whole);
    const Pack<float, n> d = load_floats<n>(below + pixels.channels, count, whole);
    Pack<float, n> sum;
    for (int k = 0; k < n; ++k) sum.at[k] = (a.at[k] + b.at[k]) + (c.at[k] + d.at[k]);
    store(dx + row * pixels.channels + channel, count, whole, sum);
  }
};

}  // namespace

void upsample(Stream& stream, const Upsample& op) {
  if (op.x.size() == 0) return;
  with_word(row_bits(op.x) | row_bits(op.y), [&](auto t) {
    using Word = decltype(t);
    const auto bytes = static_cast<int64_t>(bytes_of(op.x.dtype)), word = static_cast<int64_t>(sizeof(Word));
    const int64_t words = op.x.channels() * bytes / word;
    for_runs<1>(stream, Upsample::name, op.x.rows(), words,
                Enlarge<Word>{op.x.as<Word>(), op.y.as<Word>(), {op.x.shape[2], words}});
  });
}

void upsample_backward(Stream& stream, const UpsampleBackward& op) {
  if (op.dx.size() == 0) return;
  const int64_t rows = op.dx.rows(), channels = op.dx.channels();
  with_float(op.dx.dtype, [&](auto t) {
    using T = decltype(t);
    const T *dy = op.dy.as<T>(), *dx = op.dx.as<T>();
    const bool whole = channels % kPack<T> == 0 && whole_runs<kPack<T>>(rows, channels, dy, dx);
    for_runs<kPack<T>>(stream, UpsampleBackward::name, rows, channels,
                       Gather4<T>{dy, op.dx.as<T>(), {op.dx.shape[2], channels}, whole});
  });
}

}  // namespace diffusion::cuda
