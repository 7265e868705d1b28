// Nearest-neighbour enlargement by 2 (core/ops/upsample.h).
//   y[n, 2h + i, 2w + j, c] = x[n, h, w, c];   dx[n, h, w, c] = Σ_ij dy[n, 2h + i, 2w + j, c]
//   x, dx [N, H, W, C]     y, dy [N, 2H, 2W, C], f32
//   a thread for every four channels of a small pixel; 5 · 4 bytes an element of the small image either way
#include "core/ops/upsample.h"
#include "cuda/ops.h"
#include "cuda/runs.cuh"

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

struct Enlarge {
  const float* x;
  float* y;
  Pixels pixels;
  bool whole;

  DEVICE void operator()(int64_t row, int64_t channel, int count) const {
    const Four<float> four = load(x + row * pixels.channels + channel, count, whole);
    float* above = y + pixels.first(row) + channel;
    float* below = above + pixels.below();
    store(above, count, whole, four);
    store(above + pixels.channels, count, whole, four);
    store(below, count, whole, four);
    store(below + pixels.channels, count, whole, four);
  }
};

struct Gather4 {
  const float* dy;
  float* dx;
  Pixels pixels;
  bool whole;

  DEVICE void operator()(int64_t row, int64_t channel, int count) const {
    const float* above = dy + pixels.first(row) + channel;
    const float* below = above + pixels.below();
    const Four<float> a = load(above, count, whole), b = load(above + pixels.channels, count, whole);
    const Four<float> c = load(below, count, whole), d = load(below + pixels.channels, count, whole);
    Four<float> sum;
    for (int k = 0; k < 4; ++k) sum.at[k] = (a.at[k] + b.at[k]) + (c.at[k] + d.at[k]);
    store(dx + row * pixels.channels + channel, count, whole, sum);
  }
};

}  // namespace

void upsample(Stream& stream, const Upsample& op) {
  if (op.x.size() == 0) return;
  const int64_t rows = op.x.rows(), channels = op.x.channels();
  const bool whole = channels % 4 == 0 && whole_runs(rows, channels, op.x.f32(), op.y.f32());
  for_runs(stream, Upsample::name, rows, channels, Enlarge{op.x.f32(), op.y.f32(), {op.x.shape[2], channels}, whole});
}

void upsample_backward(Stream& stream, const UpsampleBackward& op) {
  if (op.dx.size() == 0) return;
  const int64_t rows = op.dx.rows(), channels = op.dx.channels();
  const bool whole = channels % 4 == 0 && whole_runs(rows, channels, op.dy.f32(), op.dx.f32());
  for_runs(stream, UpsampleBackward::name, rows, channels,
           Gather4{op.dy.f32(), op.dx.f32(), {op.dx.shape[2], channels}, whole});
}

}  // namespace diffusion::cuda
