// AdamW, gradient norm, moving average (core/ops/adamw.h).
//   grad, value, m, v, ema [size] f32     norm [2], hyper [4] f32, in device memory: a replayed program sees new ones
//   norm: a block for every 8192 elements, float64, then one block; 4 bytes a parameter
//   update: a thread for every four parameters, one pass; 28 bytes a parameter, 36 with an average
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
  const float* grad;
  DEVICE double operator()(int64_t i) const {
    const double g = grad[i];
    return g * g;
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

struct Update {
  float *value, *m, *v, *ema;
  const float *grad, *norm, *hyper;
  float beta1, beta2, eps, weight_decay;
  bool whole;

  DEVICE void operator()(int64_t, int64_t i, int count) const {
    const float factor = norm[1];
    if (factor != factor) return;  // NaN: a gradient that is not finite changes nothing
    const float step = hyper[0] / hyper[1], root = 1.0f / hyper[2], decay = 1.0f - hyper[0] * weight_decay;
    const Four<float> g4 = load(grad + i, count, whole);
    Four<float> value4 = load(value + i, count, whole), m4 = load(m + i, count, whole), v4 = load(v + i, count, whole);
    for (int k = 0; k < 4; ++k) {
      const float g = g4.at[k] * factor;
      m4.at[k] = beta1 * m4.at[k] + (1.0f - beta1) * g;
      v4.at[k] = beta2 * v4.at[k] + (1.0f - beta2) * (g * g);
      value4.at[k] = decay * value4.at[k] - step * (m4.at[k] / (sqrtf(v4.at[k]) * root + eps));
    }
    store(m + i, count, whole, m4);
    store(v + i, count, whole, v4);
    store(value + i, count, whole, value4);
    if (ema == nullptr) return;
    const float keep = hyper[3], blend = 1.0f - hyper[3];
    Four<float> ema4 = load(ema + i, count, whole);
    for (int k = 0; k < 4; ++k) ema4.at[k] = keep * ema4.at[k] + blend * value4.at[k];
    store(ema + i, count, whole, ema4);
  }
};

}  // namespace

void gradient_norm(Stream& stream, const GradientNorm& op) {
  sum_segments(stream, GradientNorm::name, 1, op.grad.size(), Square{op.grad.f32()},
               StoreNorm{op.before.f32(), op.result.f32(), op.clip});
}

void adamw(Stream& stream, const AdamW& op) {
  const int64_t size = op.value.size();
  const bool whole = whole_runs(1, size, op.value.f32(), op.grad.f32(), op.m.f32(), op.v.f32(), op.ema.f32());
  for_runs(stream, AdamW::name, 1, size,
           Update{op.value.f32(), op.m.f32(), op.v.f32(), op.ema.f32(), op.grad.f32(), op.norm.f32(), op.hyper.f32(),
                  op.beta1, op.beta2, op.eps, op.weight_decay, whole});
}

}  // namespace diffusion::cuda
