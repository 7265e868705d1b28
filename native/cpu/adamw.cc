// AdamW, gradient norm, moving average (core/ops/adamw.h). One pass over each: 36 bytes a parameter with an average.
#include "core/ops/adamw.h"

#include <cmath>
#include <limits>

#include "cpu/convert.h"
#include "cpu/ops.h"
#include "cpu/parallel.h"
#include "cpu/sum.h"

namespace diffusion::cpu::DIFFUSION_ISA {

void gradient_norm(Stream& stream, const GradientNorm& op) {
  const float* grad = op.grad.f32();
  double squares = sum_segments(stream, 1, op.grad.size(), [grad](int64_t i) {
    const double g = grad[i];
    return g * g;
  })[0];
  if (op.before) squares += static_cast<double>(op.before.f32()[0]) * static_cast<double>(op.before.f32()[0]);
  const float norm = static_cast<float>(std::sqrt(squares));
  float factor = 1.0f;
  if (!std::isfinite(norm))
    factor = std::numeric_limits<float>::quiet_NaN();
  else if (op.clip != 0.0f)
    factor = std::min(1.0f, op.clip / (norm + 1e-6f));
  op.result.f32()[0] = norm;
  op.result.f32()[1] = factor;
}

void adamw(Stream& stream, const AdamW& op) {
  const float factor = op.norm.f32()[1];
  if (std::isnan(factor)) return;
  const float* hyper = op.hyper.f32();
  const float step = hyper[0] / hyper[1], root = 1.0f / hyper[2];
  const float decay = 1.0f - hyper[0] * op.weight_decay;
  const float beta1 = op.beta1, beta2 = op.beta2, eps = op.eps;
  const float rest1 = 1.0f - beta1, rest2 = 1.0f - beta2;
  const float keep = hyper[3], blend = 1.0f - hyper[3];
  const float* grad = op.grad.f32();
  float *value = op.value.f32(), *m = op.m.f32(), *v = op.v.f32(), *ema = op.ema.f32();
  const auto update = [=](int64_t i) {
    const float g = grad[i] * factor;
    const float mean = beta1 * m[i] + rest1 * g;
    const float square = beta2 * v[i] + rest2 * (g * g);
    const float updated = decay * value[i] - step * (mean / (sqrtf(square) * root + eps));
    m[i] = mean;
    v[i] = square;
    value[i] = updated;
    return updated;
  };
  Bf16* copy = op.copy.as<Bf16>();
  parallel_elements(stream, op.value.size(), [=](int64_t begin, int64_t end) {
    if (ema == nullptr && copy == nullptr) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) update(i);
    } else if (copy == nullptr) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) ema[i] = keep * ema[i] + blend * update(i);
    } else if (ema == nullptr) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) copy[i] = round_bf16(update(i));
    } else {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        const float updated = update(i);
        ema[i] = keep * ema[i] + blend * updated;
        copy[i] = round_bf16(updated);
      }
    }
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
