// Layer normalisation (core/ops/layer_norm.h). Statistics in f64, a row at a time; gradients of gamma and beta in f32
// over blocks of rows that the shape decides, in f64 above.
#include "core/ops/layer_norm.h"

#include "cpu/float_types.h"
#include "cpu/ops.h"
#include "cpu/parallel.h"
#include "cpu/sum.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

constexpr int64_t kBlockElements = 16384, kBlockRows = 512;  // of a partial sum, at most

template <class T>
void normalise(const Stream& stream, const LayerNorm& op) {
  const int64_t d = op.x.shape[1];
  const float *gamma = op.gamma.f32(), *beta = op.beta.f32();
  parallel_for(stream, op.x.shape[0], grain_of(3 * d), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* x = op.x.as<T>() + row * d;
      T* y = op.y.as<T>() + row * d;
      const auto count = static_cast<double>(d);
      const double mean = sum_terms(0, d, [x](int64_t i) { return static_cast<double>(widen(x[i])); }) / count;
      const double squares = sum_terms(0, d, [x, mean](int64_t i) {
        const double difference = static_cast<double>(widen(x[i])) - mean;
        return difference * difference;
      });
      const float centre = static_cast<float>(mean);
      const auto rstd = static_cast<float>(1.0 / std::sqrt(squares / count + static_cast<double>(op.eps)));
      op.stats.f32()[2 * row] = centre;
      op.stats.f32()[2 * row + 1] = rstd;
      const auto write = [&](const auto& slope, const auto& offset) {
#pragma omp simd
        for (int64_t i = 0; i < d; ++i) y[i] = convert<T>((widen(x[i]) - centre) * rstd * slope(i) + offset(i));
      };
      const auto one = [](int64_t) { return 1.0f; };
      const auto none = [](int64_t) { return 0.0f; };
      const auto of = [](const float* values) { return [values](int64_t i) { return values[i]; }; };
      if (gamma && beta)
        write(of(gamma), of(beta));
      else if (gamma)
        write(of(gamma), none);
      else if (beta)
        write(one, of(beta));
      else
        write(one, none);
    }
  });
}

// dx of one row, and its parts of the gradients of gamma and beta.
template <class T, class Gamma>
void differentiate_row(const T* dy, const T* x, const Gamma& gamma, float mean, float rstd, int64_t d, T* dx) {
  const auto weighted = [=](int64_t i) { return static_cast<double>(widen(dy[i]) * gamma(i)); };
  const auto centred = [=](int64_t i) { return static_cast<double>((widen(x[i]) - mean) * rstd); };
  const auto count = static_cast<double>(d);
  const auto lift = static_cast<float>(sum_terms(0, d, weighted) / count);
  const auto pull = static_cast<float>(sum_terms(0, d, [&](int64_t i) { return weighted(i) * centred(i); }) / count);
#pragma omp simd
  for (int64_t i = 0; i < d; ++i) {
    const float centre = (widen(x[i]) - mean) * rstd;
    dx[i] = convert<T>(rstd * (widen(dy[i]) * gamma(i) - lift - centre * pull));
  }
}

template <class T>
void differentiate(Stream& stream, const LayerNormBackward& op) {
  const int64_t m = op.x.shape[0], d = op.x.shape[1];
  const bool sums = op.dgamma || op.dbeta;
  const int64_t rows = std::min(kBlockRows, std::max<int64_t>(1, kBlockElements / std::max<int64_t>(1, d)));
  const int64_t blocks = (m + rows - 1) / rows;
  // partial[block, {dgamma, dbeta}, D]
  float* partial = sums ? stream.scratch.floats(0, static_cast<size_t>(blocks * 2 * d)) : nullptr;
  const float* gamma = op.gamma.f32();
  parallel_for(stream, blocks, grain_of(4 * std::min(rows, m) * d), [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      float *slope = partial + block * 2 * d, *offset = slope + d;
      if (sums) std::fill(slope, slope + 2 * d, 0.0f);
      for (int64_t row = block * rows; row < std::min(m, (block + 1) * rows); ++row) {
        const T *dy = op.dy.as<T>() + row * d, *x = op.x.as<T>() + row * d;
        const float mean = op.stats.f32()[2 * row], rstd = op.stats.f32()[2 * row + 1];
        if (sums) {
#pragma omp simd
          for (int64_t i = 0; i < d; ++i) {
            slope[i] += widen(dy[i]) * ((widen(x[i]) - mean) * rstd);
            offset[i] += widen(dy[i]);
          }
        }
        if (!op.dx) continue;
        T* dx = op.dx.as<T>() + row * d;
        if (gamma)
          differentiate_row(dy, x, [gamma](int64_t i) { return gamma[i]; }, mean, rstd, d, dx);
        else
          differentiate_row(dy, x, [](int64_t) { return 1.0f; }, mean, rstd, d, dx);
      }
    }
  });
  const auto finish = [&](float* to, int64_t which) {
    if (!to) return;
    for (int64_t i = 0; i < d; ++i) {
      double sum = op.accumulate ? to[i] : 0.0;
      for (int64_t block = 0; block < blocks; ++block) sum += partial[(block * 2 + which) * d + i];
      to[i] = static_cast<float>(sum);
    }
  };
  finish(op.dgamma.f32(), 0);
  finish(op.dbeta.f32(), 1);
}

}  // namespace

void layer_norm(Stream& stream, const LayerNorm& op) {
  with_float(op.x.dtype, [&](auto type) { normalise<decltype(type)>(stream, op); });
}

void layer_norm_backward(Stream& stream, const LayerNormBackward& op) {
  with_float(op.x.dtype, [&](auto type) { differentiate<decltype(type)>(stream, op); });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
