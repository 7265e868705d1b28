// Sums, means and losses (core/ops/reduce.h), in float64 over blocks fixed by the shape (reduce.cuh).
//   x, dx f32 or bf16, everything else f32
//   mean, loss: a block for every 8192 elements of x or of a sample; the last one, or a second launch, adds the blocks
//   sum of pixels: a block for every 256 pixels and up to 512 bytes of channels, then a thread for every four results
//   16 bytes of each operand a thread; every operand is read once
#include "core/ops/reduce.h"
#include "cuda/dispatch.cuh"
#include "cuda/ops.h"
#include "cuda/process_rows.cuh"
#include "cuda/reduce.cuh"
#include "cuda/runs.cuh"

namespace diffusion::cuda {
namespace {

template <class T>
struct Value {
  static constexpr int n = kPack<T>;
  const T* x;
  bool whole;

  DEVICE double operator()(int64_t, int64_t i, int count) const {
    const Pack<float, n> pack = load_floats<n>(x + i, count, whole);
    double sum = 0.0;
    for (int k = 0; k < n; ++k) sum += static_cast<double>(pack.at[k]);
    return sum;
  }
};

DEVICE double cost(Loss kind, double d) {
  const double size = fabs(d);
  if (kind == Loss::absolute) return size;
  return kind == Loss::squared ? d * d : size < 1.0 ? 0.5 * d * d : size - 0.5;
}

// The derivative of the cost, halved where it is squared.
DEVICE float slope(Loss kind, float d) {
  if (kind == Loss::absolute) return d > 0.0f ? 1.0f : d < 0.0f ? -1.0f : d;
  return kind == Loss::squared || !(fabsf(d) > 1.0f) ? d : d > 0.0f ? 1.0f : -1.0f;
}

struct Costs {
  static constexpr int n = 4;
  ModelOutput prediction;
  const float* target;
  int64_t size;
  Loss kind;
  bool whole;

  DEVICE double operator()(int64_t segment, int64_t first, int count) const {
    const Four<float> p = prediction.mean(segment, size, first, count, whole);
    const Four<float> t = load(target + segment * size + first, count, whole);
    double sum = 0.0;
    for (int k = 0; k < n; ++k) sum += cost(kind, static_cast<double>(p.at[k]) - static_cast<double>(t.at[k]));
    return sum;
  }
};

struct StoreMean {
  float* y;
  double count;
  DEVICE void operator()(int64_t segment, double sum) const { y[segment] = static_cast<float>(sum / count); }
};

template <class T>
struct ShareOf {
  static constexpr int n = kPack<T>;
  const float* dy;
  T* dx;
  float size;
  bool whole;

  DEVICE float of_row(int64_t) const { return dy[0] / size; }
  DEVICE void operator()(float share, int64_t, int64_t first, int count) const {
    Pack<float, n> pack;
    for (int k = 0; k < n; ++k) pack.at[k] = share;
    store(dx + first, count, whole, pack);
  }
};

// --------------------------------------------------------------------------------------------------- sum of pixels

constexpr int kLanes = 8, kMostColumns = 32, kPixels = 256;  // lane l of a block sums pixels l, l + 8, …

// Σ x[n, p, c] over the 256 pixels of block b: partial[n, b, c], or y where one block has all pixels. A column of
// threads for every n channels. bf16 is added up in f32 by a thread, 32 values at most.
template <class T>
KERNEL(kMostColumns* kLanes)
sum_pixels_kernel(const T* x, int64_t samples, int64_t pixels, int64_t channels, int64_t blocks, bool whole,
                  double* partial, float* y) {
  constexpr int n = kPack<T>;
  using Sum = std::conditional_t<std::is_same_v<T, float>, double, float>;
  DYN_SMEM(double, shared);  // [lanes, columns · n]
  const int width = static_cast<int>(blockDim.x) * n;
  const int64_t strips = (channels + width - 1) / width;
  for (int64_t item = blockIdx.x; item < samples * blocks * strips; item += gridDim.x) {
    const int64_t strip = item % strips * width, block = item / strips;  // block = n·blocks + b
    const int64_t first = block % blocks * kPixels, last = first + kPixels < pixels ? first + kPixels : pixels;
    const int64_t c = strip + static_cast<int64_t>(threadIdx.x) * n;
    const int count = static_cast<int>(channels - c < n ? channels - c : n);
    Sum sum[n] = {};
    for (int64_t p = first + threadIdx.y; p < last; p += kLanes) {
      const Pack<float, n> pack = load_floats<n>(x + (block / blocks * pixels + p) * channels + c, count, whole);
      for (int k = 0; k < n; ++k) sum[k] += static_cast<Sum>(pack.at[k]);
    }
    for (int k = 0; k < n; ++k) shared[threadIdx.y * width + threadIdx.x * n + k] = static_cast<double>(sum[k]);
    __syncthreads();  // the sums of all lanes are there
    for (int i = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x); i < width; i += blockDim.x * kLanes) {
      if (strip + i >= channels) break;
      double total = shared[i];
      for (int lane = 1; lane < kLanes; ++lane) total += shared[lane * width + i];
      if (blocks == 1)
        y[block * channels + strip + i] = static_cast<float>(total);
      else
        partial[block * channels + strip + i] = total;
    }
    __syncthreads();  // they have been read before they are overwritten
  }
}

template <class T>
void sum_pixels_of(Stream& stream, const View& x, float* y, int64_t blocks, double* partial) {
  constexpr int n = kPack<T>;
  const int64_t samples = x.shape[0], channels = x.channels(), pixels = x.size() / (samples * channels);
  const int64_t packs = (channels + n - 1) / n;
  const auto columns = static_cast<unsigned>(std::min<int64_t>(kMostColumns, packs));
  const int64_t items = samples * blocks * ((packs + columns - 1) / columns);
  const T* data = x.as<T>();
  const bool whole = channels % n == 0 && whole_runs<n>(1, channels, data);
  LAUNCH((sum_pixels_kernel<T>), dim3(static_cast<unsigned>(std::min(kSumGrid, items))), dim3(columns, kLanes),
         columns * n * kLanes * sizeof(double), stream.handle, data, samples, pixels, channels, blocks, whole, partial,
         y);
  check_launch(SumPixels::name);
}

// y[n, c] = Σ_b partial[n, b, c]
struct SumBlocks {
  const double* partial;
  float* y;
  int64_t blocks, channels;

  DEVICE void operator()(int64_t n, int64_t first, int count) const {
    for (int k = 0; k < count; ++k) {
      double sum = 0.0;
      for (int64_t b = 0; b < blocks; ++b) sum += partial[(n * blocks + b) * channels + first + k];
      y[n * channels + first + k] = static_cast<float>(sum);
    }
  }
};

// In the layout of the prediction; a pixel of it has `stride` values, of which the first `channels` count.
struct LossGradient {
  const float *prediction, *target, *dloss;
  float* dprediction;
  int64_t size, channels;  // of target
  Divisor stride;
  Loss kind;
  bool doubled, whole;

  DEVICE float of_row(int64_t n) const {
    const double factor = kind == Loss::squared ? 2.0 : 1.0;
    return static_cast<float>(factor * static_cast<double>(dloss[n]) / static_cast<double>(size));
  }
  DEVICE void operator()(float factor, int64_t n, int64_t first, int count) const {
    const int64_t at = (doubled ? 2 * n * size : n * size) + first;
    const Four<float> p = load(prediction + at, count, whole);
    const Four<float> t = doubled ? wanted(n, first, count, p) : load(target + at, count, whole);
    Four<float> d;
    for (int k = 0; k < 4; ++k) d.at[k] = factor * slope(kind, p.at[k] - t.at[k]);
    store(dprediction + at, count, whole, d);
  }

 private:
  // The target where there is one, else the prediction itself.
  DEVICE Four<float> wanted(int64_t n, int64_t first, int count, const Four<float>& p) const {
    int64_t pixel = stride.of(static_cast<uint32_t>(first)), c = first - 2 * pixel * channels;
    Four<float> t = p;
    for (int k = 0; k < 4; ++k) {
      if (k < count && c < channels) t.at[k] = target[n * size + pixel * channels + c];
      if (++c < 2 * channels) continue;
      c = 0;
      ++pixel;
    }
    return t;
  }
};

}  // namespace

void mean(Stream& stream, const Mean& op) {
  const int64_t size = op.x.size();
  with_float(op.x.dtype, [&](auto t) {
    const auto* x = op.x.as<decltype(t)>();
    sum_segments(stream, Mean::name, 1, size, Value<decltype(t)>{x, whole_runs<kPack<decltype(t)>>(1, size, x)},
                 StoreMean{op.y.f32(), static_cast<double>(size)});
  });
}

void mean_backward(Stream& stream, const MeanBackward& op) {
  const int64_t size = op.dx.size();
  with_float(op.dx.dtype, [&](auto t) {
    using T = decltype(t);
    T* dx = op.dx.as<T>();
    for_runs<kPack<T>>(stream, MeanBackward::name, 1, size,
                       ShareOf<T>{op.dy.f32(), dx, static_cast<float>(size), whole_runs<kPack<T>>(1, size, dx)});
  });
}

void sum_pixels(Stream& stream, const SumPixels& op) {
  const int64_t samples = op.x.shape[0], channels = op.x.channels();
  if (samples * channels == 0) return;
  const int64_t pixels = op.x.size() / (samples * channels);
  const int64_t blocks = std::max<int64_t>(1, (pixels + kPixels - 1) / kPixels);
  auto* partial = static_cast<double*>(stream.scratch(0, samples * blocks * channels * sizeof(double)));
  with_float(op.x.dtype, [&](auto t) { sum_pixels_of<decltype(t)>(stream, op.x, op.y.f32(), blocks, partial); });
  if (blocks == 1) return;
  for_runs(stream, SumPixels::name, samples, channels, SumBlocks{partial, op.y.f32(), blocks, channels});
}

void mse_loss(Stream& stream, const MseLoss& op) {
  const int64_t samples = op.target.shape[0], size = sample_size(op.target);
  const ModelOutput output(MseLoss::name, op.prediction, op.target);
  const bool whole = output.whole_runs_as(samples, size) && whole_runs(samples, size, op.target.f32());
  sum_segments(stream, MseLoss::name, samples, size, Costs{output, op.target.f32(), size, op.kind, whole},
               StoreMean{op.loss.f32(), static_cast<double>(size)});
}

void mse_loss_backward(Stream& stream, const MseLossBackward& op) {
  const int64_t samples = op.target.shape[0], size = sample_size(op.target), channels = op.target.channels();
  if (size == 0) return;
  const bool doubled = is_doubled(op.prediction, op.target);
  const int64_t width = doubled ? 2 * size : size;
  if (doubled && width > INT32_MAX)
    fail(code::shape, "mseLossBackward: samples of more than 2^31 - 1 elements have no variance channels");
  bool whole = whole_runs(samples, width, op.prediction.f32(), op.dprediction.f32());
  if (!doubled) whole = whole && whole_runs(samples, width, op.target.f32());
  for_runs(stream, MseLossBackward::name, samples, width,
           LossGradient{op.prediction.f32(), op.target.f32(), op.dloss.f32(), op.dprediction.f32(), size, channels,
                        Divisor(doubled ? 2 * channels : 1), op.kind, doubled, whole});
}

}  // namespace diffusion::cuda
