// Sums, means and losses (core/ops/reduce.h), summed in float64 over blocks fixed by the shape.
#include "core/ops/reduce.h"

#include <cmath>
#include <type_traits>

#include "cpu/float_types.h"
#include "cpu/ops.h"
#include "cpu/process_rows.h"
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

namespace {

double cost(Loss kind, double d) {
  const double size = std::abs(d);
  if (kind == Loss::absolute) return size;
  return kind == Loss::squared ? d * d : size < 1.0 ? 0.5 * d * d : size - 0.5;
}

// The derivative of the cost over `factor`.
float slope(Loss kind, float d) {
  if (kind == Loss::absolute) return d > 0.0f ? 1.0f : d < 0.0f ? -1.0f : d;
  return kind == Loss::squared || !(std::abs(d) > 1.0f) ? d : d > 0.0f ? 1.0f : -1.0f;
}

// f(kind) with a constant, so that its loops are vectorised.
template <class F>
void with_loss(Loss kind, const F& f) {
  if (kind == Loss::squared) return f(std::integral_constant<Loss, Loss::squared>{});
  if (kind == Loss::absolute) return f(std::integral_constant<Loss, Loss::absolute>{});
  f(std::integral_constant<Loss, Loss::huber>{});
}

}  // namespace

void mse_loss(Stream& stream, const MseLoss& op) {
  const int64_t n = op.target.shape[0];
  if (n == 0) return;
  const int64_t size = op.target.per_sample();
  const ModelOutput output(op.prediction, op.target);
  with_loss(op.kind, [&](auto kind) {
    const double* sums = sum_blocks_of(stream, n, size, [&](int64_t s, int64_t first, int64_t last, double* sum) {
      const float* target = op.target.f32() + s * size;
      if (!output.doubled()) {
        const float* prediction = op.prediction.f32() + s * size;
        *sum = sum_terms(first, last, [=](int64_t i) {
          return cost(kind(), static_cast<double>(prediction[i]) - static_cast<double>(target[i]));
        });
        return;
      }
      alignas(64) float buffer[kRandomChunk];
      *sum = 0;
      for (int64_t begin = first; begin < last; begin += kRandomChunk) {
        const int64_t count = std::min(kRandomChunk, last - begin);
        const float* prediction = output.mean(s, begin, count, buffer);
        *sum += sum_terms(0, count, [=](int64_t i) {
          return cost(kind(), static_cast<double>(prediction[i]) - static_cast<double>(target[begin + i]));
        });
      }
    });
    for (int64_t i = 0; i < n; ++i) op.loss.f32()[i] = static_cast<float>(sums[i] / static_cast<double>(size));
  });
}

void mse_loss_backward(Stream& stream, const MseLossBackward& op) {
  if (op.target.size() == 0) return;
  const int64_t size = op.target.per_sample(), channels = op.target.channels();
  const bool doubled = is_doubled(op.prediction, op.target);
  // A line is a pixel of a doubled prediction, else a piece of a sample.
  const int64_t line = doubled ? channels : std::min(size, kSumBlock), lines = (size + line - 1) / line;
  with_loss(op.kind, [&](auto kind) {
    parallel_for(stream, op.target.shape[0] * lines, grain_of(line), [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t n = item / lines, first = item % lines * line, count = std::min(line, size - first);
        const double dloss = op.dloss.f32()[n];
        const auto factor =
            static_cast<float>((kind() == Loss::squared ? 2.0 : 1.0) * dloss / static_cast<double>(size));
        const int64_t at = n * size + first, from = doubled ? 2 * at : at;
        const float *prediction = op.prediction.f32() + from, *target = op.target.f32() + at;
        float* dprediction = op.dprediction.f32() + from;
#pragma omp simd
        for (int64_t i = 0; i < count; ++i) dprediction[i] = factor * slope(kind(), prediction[i] - target[i]);
        if (doubled) std::fill(dprediction + channels, dprediction + 2 * channels, 0.0f);
      }
    });
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
