// Sums, means and the mean squared error (core/ops/reduce.h), in float64 over blocks fixed by the shape (reduce.cuh).
//   mean, loss: a block for every 8192 elements of x or of a sample, then one for each result; 4 or 8 bytes an element
//   sum of pixels: a block for every 256 pixels × 32 channels of a sample, then a thread for each result
#include "core/ops/reduce.h"
#include "cuda/elementwise.cuh"
#include "cuda/ops.h"
#include "cuda/reduce.cuh"

namespace diffusion::cuda {
namespace {

struct Value {
  const float* x;
  DEVICE double operator()(int64_t i) const { return static_cast<double>(x[i]); }
};

struct SquaredError {
  const float *prediction, *target;
  DEVICE double operator()(int64_t i) const {
    const double difference = static_cast<double>(prediction[i]) - static_cast<double>(target[i]);
    return difference * difference;
  }
};

struct StoreMean {
  float* y;
  double count;
  DEVICE void operator()(int64_t segment, double sum) const { y[segment] = static_cast<float>(sum / count); }
};

struct ShareOf {
  const float* dy;
  float count;
  DEVICE float operator()() const { return dy[0] / count; }
};

// --------------------------------------------------------------------------------------------------- sum of pixels

constexpr int kChannels = 32, kLanes = 8, kPixels = 256;  // a block; lane l sums pixels l, l + 8, …

// partial[n, b, c] = Σ x[n, p, c] over the 256 pixels of block b
KERNEL(kChannels* kLanes)
sum_pixels_kernel(const float* x, int64_t samples, int64_t pixels, int64_t channels, int64_t blocks, double* partial) {
  DYN_SMEM(double, shared);
  const int64_t strips = (channels + kChannels - 1) / kChannels;
  for (int64_t item = blockIdx.x; item < samples * blocks * strips; item += gridDim.x) {
    const int64_t c = item % strips * kChannels + threadIdx.x, block = item / strips;  // block = n·blocks + b
    const int64_t first = block % blocks * kPixels, last = first + kPixels < pixels ? first + kPixels : pixels;
    double sum = 0.0;
    if (c < channels)
      for (int64_t p = first + threadIdx.y; p < last; p += kLanes)
        sum += static_cast<double>(x[(block / blocks * pixels + p) * channels + c]);
    shared[threadIdx.y * kChannels + threadIdx.x] = sum;
    __syncthreads();  // the sums of all lanes are there
    if (threadIdx.y == 0 && c < channels) {
      for (int lane = 1; lane < kLanes; ++lane) sum += shared[lane * kChannels + threadIdx.x];
      partial[block * channels + c] = sum;
    }
    __syncthreads();  // lane 0 has read them before they are overwritten
  }
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

struct LossGradient {
  const float *prediction, *target, *dloss;
  float* dprediction;
  int64_t size;
  bool whole;

  DEVICE void operator()(int64_t n, int64_t first, int count) const {
    const auto factor = static_cast<float>(2.0 * static_cast<double>(dloss[n]) / static_cast<double>(size));
    const int64_t at = n * size + first;
    const Four<float> p = load(prediction + at, count, whole), t = load(target + at, count, whole);
    Four<float> d;
    for (int k = 0; k < 4; ++k) d.at[k] = factor * (p.at[k] - t.at[k]);
    store(dprediction + at, count, whole, d);
  }
};

}  // namespace

void mean(Stream& stream, const Mean& op) {
  const int64_t size = op.x.size();
  sum_segments(stream, Mean::name, 1, size, Value{op.x.f32()}, StoreMean{op.y.f32(), static_cast<double>(size)});
}

void mean_backward(Stream& stream, const MeanBackward& op) {
  const int64_t size = op.dx.size();
  map(stream, MeanBackward::name, size, ShareOf{op.dy.f32(), static_cast<float>(size)}, op.dx.f32());
}

void sum_pixels(Stream& stream, const SumPixels& op) {
  const int64_t samples = op.x.shape[0], channels = op.x.channels();
  if (samples * channels == 0) return;
  const int64_t pixels = op.x.size() / (samples * channels);
  const int64_t blocks = std::max<int64_t>(1, (pixels + kPixels - 1) / kPixels);
  const int64_t items = samples * blocks * ((channels + kChannels - 1) / kChannels);
  auto* partial = static_cast<double*>(stream.scratch(0, samples * blocks * channels * sizeof(double)));
  LAUNCH(sum_pixels_kernel, dim3(static_cast<unsigned>(std::min(kSumGrid, items))), dim3(kChannels, kLanes),
         kChannels * kLanes * sizeof(double), stream.handle, op.x.f32(), samples, pixels, channels, blocks, partial);
  check_launch(SumPixels::name);
  for_runs(stream, SumPixels::name, samples, channels, SumBlocks{partial, op.y.f32(), blocks, channels});
}

void mse_loss(Stream& stream, const MseLoss& op) {
  const int64_t samples = op.prediction.shape[0], size = sample_size(op.prediction);
  sum_segments(stream, MseLoss::name, samples, size, SquaredError{op.prediction.f32(), op.target.f32()},
               StoreMean{op.loss.f32(), static_cast<double>(size)});
}

void mse_loss_backward(Stream& stream, const MseLossBackward& op) {
  const int64_t samples = op.prediction.shape[0], size = sample_size(op.prediction);
  const bool whole = whole_runs(samples, size, op.prediction.f32(), op.target.f32(), op.dprediction.f32());
  for_runs(stream, MseLossBackward::name, samples, size,
           LossGradient{op.prediction.f32(), op.target.f32(), op.dloss.f32(), op.dprediction.f32(), size, whole});
}

}  // namespace diffusion::cuda
