// What group normalisation does to a value once the statistics are known, and its derivative.
#pragma once

#include "core/random.h"
#include "cuda/group_norm_plan.cuh"

namespace diffusion::cuda::group_norm_plan {

// The affine map of a channel and what follows it.
struct Coefficients {
  const float *gamma, *beta, *scale_shift, *stats;
  const float* residual;  // [N, G] (mean as stored − mean)·rstd, or absent
  bool silu;
  float dropout, keep;
  Rng rng;

  template <class Op>
  Coefficients(const Op& op, const float* residual)
      : gamma(op.gamma.f32()),
        beta(op.beta.f32()),
        scale_shift(op.scale_shift.f32()),
        stats(op.stats.f32()),
        residual(residual),
        silu(op.silu),
        dropout(op.dropout),
        keep(1.0f / (1.0f - op.dropout)),
        rng(op.rng) {}
};

// z = (x − centre)·slope + offset for the channels of a thread.
template <int pack>
struct Affine {
  Pack<float, pack> centre{}, slope{}, offset{};

  DEVICE Affine(const Plan& plan, const Coefficients& of, int64_t n, int c) {
    for (int i = 0; i < pack; ++i) {
      if (c + i >= plan.c) break;
      const int k = c + i;
      const int64_t group = n * plan.groups + k / (plan.c / plan.groups);
      float a = of.gamma[k], b = of.beta[k];
      if (of.scale_shift) {
        const float* row = of.scale_shift + n * 2 * plan.c;
        const float factor = 1.0f + row[k];
        a *= factor;
        b = fmaf(b, factor, row[plan.c + k]);
      }
      centre.at[i] = of.stats[2 * group];
      slope.at[i] = a * of.stats[2 * group + 1];
      offset.at[i] = of.residual ? fmaf(of.residual[group], a, b) : b;
    }
  }
};

// What dropout multiplies the elements first … first + pack − 1 of sample n with: 0 or 1/(1 − p).
template <int pack>
DEVICE Pack<float, pack> dropout_factors(const Coefficients& of, const Generator& g, int64_t n, int64_t first) {
  const auto sample = static_cast<uint32_t>(n);
  const auto block = static_cast<uint32_t>(first / 4);
  const int skip = static_cast<int>(first % 4);
  uint32_t words[pack + 4] = {};
  for (int four = 0; four <= pack; four += 4) {
    if (four == pack && skip == 0) break;
    const Words w = g.words(sample, block + static_cast<uint32_t>(four / 4));
    words[four] = w.w0, words[four + 1] = w.w1, words[four + 2] = w.w2, words[four + 3] = w.w3;
  }
  Pack<float, pack> factors;
  for (int i = 0; i < pack; ++i) {
    const uint32_t word = skip == 0 ? words[i] : skip == 1 ? words[i + 1] : skip == 2 ? words[i + 2] : words[i + 3];
    factors.at[i] = uniform(word) < of.dropout ? 0.0f : of.keep;
  }
  return factors;
}

template <int pack>
DEVICE void apply_dropout(Pack<float, pack>& values, const Coefficients& of, const Generator& g, int64_t n,
                          int64_t first) {
  const Pack<float, pack> factor = dropout_factors<pack>(of, g, n, first);
  for (int i = 0; i < pack; ++i) values.at[i] = factor.at[i] == 0.0f ? 0.0f : values.at[i] * factor.at[i];
}

}  // namespace diffusion::cuda::group_norm_plan
