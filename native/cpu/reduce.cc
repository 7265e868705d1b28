// Sums, means and the mean squared error (core/ops/reduce.h), summed in float64 over blocks fixed by the shape.
#include "core/ops/reduce.h"

#include "cpu/float_types.h"
#include "cpu/ops.h"
#include "cpu/parallel.h"
#include "cpu/sum.h"

namespace diffusion::cpu::DIFFUSION_ISA {

void mean(Stream& stream, const Mean& op) {
  const int64_t n = op.x.size();
  with_float(op.x.dtype, [&](auto type) {
    const auto* x = op.x.as<decltype(type)>();
    const double* sum = sum_segments(stream, 1, n, [x](int64_t i) { return static_cast<double>(widen(x[i])); });
    op.y.f32()[0] = static_cast<float>(sum[0] / static_cast<double>(n));
  });
}

void mean_backward(Stream& stream, const MeanBackward& op) {
  const int64_t n = op.dx.size();
  with_float(op.dx.dtype, [&](auto type) {
    using T = decltype(type);
    T* dx = op.dx.as<T>();
    const T value = convert<T>(op.dy.f32()[0] / static_cast<float>(n));
    parallel_elements(stream, n, [=](int64_t begin, int64_t end) { std::fill(dx + begin, dx + end, value); });
  });
}

namespace {

template <class T>
void sum_pixels_of(Stream& stream, const SumPixels& op) {
  const int64_t n = op.x.shape[0], c = op.x.channels();
  if (n * c == 0) return;
  const int64_t pixels = op.x.size() / (n * c);
  const int64_t block = std::max<int64_t>(1, kSumBlock / c),
                blocks = std::max<int64_t>(1, (pixels + block - 1) / block);
  auto* partial = static_cast<double*>(stream.scratch.get(0, n * blocks * c * sizeof(double)));
  parallel_for(stream, n * blocks, grain_of(std::min(block, pixels) * c), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item % blocks * block, last = std::min(pixels, first + block);
      const T* x = op.x.as<T>() + (item / blocks * pixels + first) * c;
      double* sum = partial + item * c;
      std::fill(sum, sum + c, 0.0);
      for (int64_t p = first; p < last; ++p, x += c)
#pragma omp simd
        for (int64_t k = 0; k < c; ++k) sum[k] += static_cast<double>(widen(x[k]));
    }
  });
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < c; ++k) {
      double sum = 0;
      for (int64_t b = 0; b < blocks; ++b) sum += partial[(i * blocks + b) * c + k];
      op.y.f32()[i * c + k] = static_cast<float>(sum);
    }
}

}  // namespace

void sum_pixels(Stream& stream, const SumPixels& op) {
  with_float(op.x.dtype, [&](auto type) { sum_pixels_of<decltype(type)>(stream, op); });
}

void mse_loss(Stream& stream, const MseLoss& op) {
  const int64_t n = op.prediction.shape[0];
  if (n == 0) return;
  const int64_t size = op.prediction.per_sample();
  const float *prediction = op.prediction.f32(), *target = op.target.f32();
  const double* sums = sum_segments(stream, n, size, [=](int64_t i) {
    const double difference = static_cast<double>(prediction[i]) - static_cast<double>(target[i]);
    return difference * difference;
  });
  for (int64_t i = 0; i < n; ++i) op.loss.f32()[i] = static_cast<float>(sums[i] / static_cast<double>(size));
}

void mse_loss_backward(Stream& stream, const MseLossBackward& op) {
  const int64_t n = op.prediction.shape[0];
  if (n == 0) return;
  const int64_t size = op.prediction.per_sample();
  const int64_t blocks = sum_blocks(size);
  parallel_for(stream, n * blocks, grain_of(std::min(size, kSumBlock)), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t start = item / blocks * size, first = item % blocks * kSumBlock;
      const float factor =
          static_cast<float>(2.0 * static_cast<double>(op.dloss.f32()[item / blocks]) / static_cast<double>(size));
      const float *prediction = op.prediction.f32() + start, *target = op.target.f32() + start;
      float* dprediction = op.dprediction.f32() + start;
#pragma omp simd
      for (int64_t i = first; i < std::min(size, first + kSumBlock); ++i)
        dprediction[i] = factor * (prediction[i] - target[i]);
    }
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
