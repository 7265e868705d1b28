// The terms of the variational bound of a Gaussian diffusion process (Ho et al. 2020, eq. 5 and 13; Nichol & Dhariwal
// 2021), in float64 and with their derivatives: one definition for all backends.
#pragma once

#include <cmath>

#include "core/ops/process.h"

namespace diffusion {

// A term in nats, and its derivative by the mean and by the logarithm of the variance of p.
struct BoundTerm {
  double value, by_mean, by_log_variance;
};

// KL(q‖p) of two Gaussians of these means and logarithms of variances.
DIFFUSION_HD BoundTerm gaussian_divergence(double mean_q, double log_variance_q, double mean_p, double log_variance_p) {
  const double gap = log_variance_q - log_variance_p, difference = mean_p - mean_q;
  const double precision = exp(-log_variance_p);
  const double excess = expm1(gap) + difference * difference * precision;  // no cancellation where q and p are close
  return {0.5 * (excess - gap), difference * precision, -0.5 * excess};
}

// Φ(x) as ½(1 + tanh(√(2/π)(x + 0.044715 x³))), improved-diffusion's approx_standard_normal_cdf, what is left of 1, and
// the derivative.
struct NormalCdf {
  double value, rest, slope;

  DIFFUSION_HD explicit NormalCdf(double x) {
    constexpr double kScale = 1.59576912160573071176;  // 2·√(2/π)
    const double e = exp(-kScale * fabs(x + 0.044715 * x * x * x)), near = 1.0 / (1.0 + e), far = e * near;
    value = x < 0.0 ? far : near;
    rest = x < 0.0 ? near : far;
    slope = e == 0.0 ? 0.0 : near * far * kScale * (1.0 + 3.0 * 0.044715 * x * x);
  }
};

// −log p(x) of a byte x/127.5 − 1 under a Gaussian cut into bins of 2/255, the outer ones open. A probability below
// 1e-12 counts as 1e-12 and has no gradient.
DIFFUSION_HD BoundTerm discretised_likelihood(double x, double mean, double log_variance) {
  constexpr double kHalfBin = 1.0 / 255.0, kEdge = 0.999, kLeast = 1e-12;
  const double scale = exp(-0.5 * log_variance);
  const double above = scale * (x - mean + kHalfBin), below = scale * (x - mean - kHalfBin);
  const NormalCdf high(above), low(below);
  const bool first = x<-kEdge, last = x> kEdge;
  const double inner = below > 0.0 ? low.rest - high.rest : high.value - low.value;  // of the smaller ones
  const double p = first ? high.value : last ? low.rest : inner;
  const double up = last ? 0.0 : high.slope, down = first ? 0.0 : low.slope;
  if (p < kLeast) return {-log(kLeast), 0.0, 0.0};  // NaN goes on
  return {-log(p), scale * (up - down) / p, 0.5 * (above * up - below * down) / p};
}

// What a row of coefficients makes of one element: see core/ops/variational.h.
struct BoundRow {
  static constexpr int kColumns = 9;
  double px, pm, ex, e0, c1, c2, log_variance_q, low, high, clip;
  Variance variance;
  bool decodes;  // t = 0

  DIFFUSION_HD BoundRow(const float (&row)[kColumns], float bound, Variance kind, bool is_first)
      : px(row[0]),
        pm(row[1]),
        ex(row[2]),
        e0(row[3]),
        c1(row[4]),
        c2(row[5]),
        log_variance_q(row[6]),
        low(row[7]),
        high(row[8]),
        clip(bound),
        variance(kind),
        decodes(is_first) {}

  DIFFUSION_HD double free_start(double m, double xt) const { return px * xt + pm * m; }
  DIFFUSION_HD bool clips(double start) const { return clip > 0.0 && (start > clip || start < -clip); }
  // x̂0
  DIFFUSION_HD double start(double m, double xt) const {
    const double x = free_start(m, xt);
    return !clips(x) ? x : x > 0.0 ? clip : -clip;
  }
  // The derivative of the mean of p by m.
  DIFFUSION_HD double slope_of_mean(double m, double xt) const { return clips(free_start(m, xt)) ? 0.0 : c1 * pm; }

  DIFFUSION_HD double log_variance(double v) const {
    return variance == Variance::fixed ? low : variance == Variance::learned ? v : low + 0.5 * (v + 1.0) * (high - low);
  }
  DIFFUSION_HD double slope_of_log_variance() const {
    return variance == Variance::fixed ? 0.0 : variance == Variance::learned ? 1.0 : 0.5 * (high - low);
  }

  DIFFUSION_HD BoundTerm term(double m, double v, double x0, double xt) const {
    const double mean = c1 * start(m, xt) + c2 * xt;
    if (decodes) return discretised_likelihood(x0, mean, log_variance(v));
    return gaussian_divergence(c1 * x0 + c2 * xt, log_variance_q, mean, log_variance(v));
  }
  DIFFUSION_HD double start_error(double m, double x0, double xt) const {
    const double difference = start(m, xt) - x0;
    return difference * difference;
  }
  DIFFUSION_HD double noise_error(double m, double xt, double noise) const {
    const double difference = ex * xt + e0 * start(m, xt) - noise;
    return difference * difference;
  }
};

}  // namespace diffusion
