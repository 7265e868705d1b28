// AdamW, gradient norm, moving average (core/ops/adamw.h).
//   grad, value, m, v, ema [size] f32     copy [size] bf16
//   norm [2], hyper [4] f32, in device memory: a replayed program sees new ones
//   norm: a block for every 8192 elements, float64, the last one adds the blocks: one launch, 4 bytes a parameter
//   update: a thread for every four parameters, one launch; 28 bytes a parameter, 8 more with an average, 2 with a copy
#include <cfloat>
#include <cmath>

#include "core/ops/adamw.h"
#include "core/random.h"
#include "cuda/ops.h"
#include "cuda/reduce.cuh"
#include "cuda/runs.cuh"

namespace diffusion::cuda {
namespace {

struct Square {
  static constexpr int n = 4;
  const float* grad;
  bool whole;

  DEVICE double operator()(int64_t, int64_t i, int count) const {
    const Four<float> four = load(grad + i, count, whole);
    double sum = 0.0;
    for (int k = 0; k < n; ++k) {
      const double g = four.at[k];
      sum += g * g;
    }
    return sum;
  }
};

struct StoreNorm {
  const float* before;  // may be `result`
  float* result;
  float clip;

  DEVICE void operator()(int64_t, double squares) const {
    if (before != nullptr) squares += static_cast<double>(before[0]) * static_cast<double>(before[0]);
    const auto norm = static_cast<float>(sqrt(squares));
    const bool finite = norm <= FLT_MAX;  // false for NaN
    const float clipped = clip == 0.0f ? 1.0f : clip / (norm + 1e-6f);
    result[0] = norm;
    result[1] = !finite ? bits_to_float(0x7FC00000u) : clipped < 1.0f ? clipped : 1.0f;
  }
};

// The same for all parameters.
struct Step {
  float factor, rate, root, shrink, keep;
};

struct Update {
  float *value, *m, *v, *ema;
  Bf16* copy;
  const float *grad, *norm, *hyper;
  float beta1, beta2, eps, weight_decay;
  bool whole;

  DEVICE Step of_row(int64_t) const {
    return {norm[1], hyper[0] / hyper[1], 1.0f / hyper[2], 1.0f - hyper[0] * weight_decay, hyper[3]};
  }
  DEVICE void operator()(const Step& step, int64_t, int64_t i, int count) const {
    if (step.factor != step.factor) return;  // NaN: a gradient that is not finite changes nothing
    const Four<float> g4 = load(grad + i, count, whole);
    Four<float> value4 = load(value + i, count, whole), m4 = load(m + i, count, whole), v4 = load(v + i, count, whole);
    for (int k = 0; k < 4; ++k) {
      const float g = g4.at[k] * step.factor;
      m4.at[k] = beta1 * m4.at[k] + (1.0f - beta1) * g;
      v4.at[k] = beta2 * v4.at[k] + (1.0f - beta2) * (g * g);
      value4.at[k] = step.shrink * value4.at[k] - step.rate * (m4.at[k] / (sqrtf(v4.at[k]) * step.root + eps));
    }
    store(m + i, count, whole, m4);
    store(v + i, count, whole, v4);
    store(value + i, count, whole, value4);
    if (copy != nullptr) store(copy + i, count, whole, value4);
    if (ema == nullptr) return;
    Four<float> ema4 = load(ema + i, count, whole);
    for (int k = 0; k < 4; ++k) ema4.at[k] = step.keep * ema4.at[k] + (1.0f - step.keep) * value4.at[k];
    store(ema + i, count, whole, ema4);
  }
};

}  // namespace

void gradient_norm(Stream& stream, const GradientNorm& op) {
  const int64_t size = op.grad.size();
  sum_segments(stream, GradientNorm::name, 1, size, Square{op.grad.f32(), whole_runs(1, size, op.grad.f32())},
               StoreNorm{op.before.f32(), op.result.f32(), op.clip});
}

void adamw(Stream& stream, const AdamW& op) {
  const int64_t size = op.value.size();
  const bool whole =
      whole_runs(1, size, op.value.f32(), op.grad.f32(), op.m.f32(), op.v.f32(), op.ema.f32(), op.copy.as<Bf16>());
  for_runs(stream, AdamW::name, 1, size,
           Update{op.value.f32(), op.m.f32(), op.v.f32(), op.ema.f32(), op.copy.as<Bf16>(), op.grad.f32(),
                  op.norm.f32(), op.hyper.f32(), op.beta1, op.beta2, op.eps, op.weight_decay, whole});
}

}  // namespace diffusion::cuda
