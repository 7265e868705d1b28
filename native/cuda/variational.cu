// The model's variance and the variational bound (core/ops/variational.h), element by element in float64.
//   a thread for every four elements of a sample; sums as in reduce.cuh, a pass for each result that is wanted
//   A t outside the table is reported, and what is computed for its sample is NaN.
#include "core/ops/variational.h"
#include "cuda/ops.h"
#include "cuda/process_rows.cuh"
#include "cuda/reduce.cuh"

namespace diffusion::cuda {
namespace {

constexpr double kBits = 1.44269504088896340736;  // 1 / ln 2

struct VarianceOf {
  ModelOutput output;
  float *variance, *log_variance;
  int64_t size;
  Rows rows;
  Variance kind;
  bool whole;

  DEVICE LogVariance of_row(int64_t n) const {
    float row[2];
    rows.read(n, row);
    LogVariance of(kind, row[0], row[1]);
    if (row[0] != row[0]) of.offset = row[0];
    return of;
  }
  DEVICE void operator()(const LogVariance& of, int64_t n, int64_t first, int count) const {
    const Four<float> v = output.variance(n, size, first, count);
    Four<float> logarithm, value;
    for (int k = 0; k < 4; ++k) {
      logarithm.at[k] = of(v.at[k]);
      value.at[k] = expf(logarithm.at[k]);
    }
    store(log_variance + n * size + first, count, whole, logarithm);
    store(variance + n * size + first, count, whole, value);
  }
};

// What the bound is computed from, an element at a time.
struct BoundInputs {
  ModelOutput output;
  const float *x0, *xt;
  int64_t size;
  Rows rows;
  float clip;
  Variance variance;
  bool whole;

  DEVICE BoundRow of_row(int64_t n) const {
    float row[BoundRow::kColumns];
    rows.read(n, row);
    return {row, clip, variance, rows.t[n] == 0};
  }
  DEVICE Four<float> mean(int64_t n, int64_t first, int count) const {
    return output.mean(n, size, first, count, whole);
  }
  DEVICE Four<float> variances(int64_t n, int64_t first, int count) const {
    return variance == Variance::fixed ? Four<float>{} : output.variance(n, size, first, count);
  }
};

template <class Op>
BoundInputs inputs_of(Stream& stream, const Op& op) {
  const int64_t samples = op.x0.shape[0], size = sample_size(op.x0);
  const ModelOutput output(Op::name, op.output, op.x0);
  const bool whole = output.whole_runs_as(samples, size) && whole_runs(samples, size, op.x0.f32(), op.xt.f32());
  return {output, op.x0.f32(), op.xt.f32(), size, rows_of(stream, op), op.clip, op.variance, whole};
}

enum class Quantity { bound, start_error, noise_error };

template <Quantity quantity>
struct BoundSum {
  static constexpr int n = 4, kPlaces = quantity == Quantity::bound ? 2 : 0;
  BoundInputs inputs;
  const float* noise;
  bool whole_noise;

  DEVICE double operator()(int64_t segment, int64_t first, int count) const {
    const BoundRow row = inputs.of_row(segment);
    const int64_t at = segment * inputs.size + first;
    const Four<float> m = inputs.mean(segment, first, count), xt = load(inputs.xt + at, count, inputs.whole);
    Four<float> x0{}, v{}, z{};
    if constexpr (quantity != Quantity::noise_error) x0 = load(inputs.x0 + at, count, inputs.whole);
    if constexpr (quantity == Quantity::noise_error) z = load(noise + at, count, whole_noise);
    if constexpr (quantity == Quantity::bound) v = inputs.variances(segment, first, count);
    double sum = 0.0;
#pragma unroll
    for (int k = 0; k < n; ++k) {
      double term;
      if constexpr (quantity == Quantity::bound)
        term = row.term(m.at[k], v.at[k], x0.at[k], xt.at[k]).value;
      else if constexpr (quantity == Quantity::start_error)
        term = row.start_error(m.at[k], x0.at[k], xt.at[k]);
      else
        term = row.noise_error(m.at[k], xt.at[k], z.at[k]);
      sum += k < count ? term : 0.0;
    }
    return sum;
  }
};

struct StoreScaled {
  float* y;
  double scale, count;
  DEVICE void operator()(int64_t segment, double sum) const { y[segment] = static_cast<float>(sum * scale / count); }
};

struct BoundGradient {
  BoundInputs inputs;
  ModelOutput gradient;
  const float* grad_vb;
  bool detach_mean, whole;

  struct Sample {
    BoundRow row;
    double factor;
  };
  DEVICE Sample of_row(int64_t n) const {
    return {inputs.of_row(n), static_cast<double>(grad_vb[n]) * kBits / static_cast<double>(inputs.size)};
  }
  DEVICE void operator()(const Sample& known, int64_t n, int64_t first, int count) const {
    const BoundRow& row = known.row;
    const int64_t at = n * inputs.size + first;
    const Four<float> m = inputs.mean(n, first, count), v = inputs.variances(n, first, count);
    const Four<float> x0 = load(inputs.x0 + at, count, inputs.whole), xt = load(inputs.xt + at, count, inputs.whole);
    const double slope = row.slope_of_log_variance(), mean_factor = detach_mean ? 0.0 : known.factor;
    Four<float> by_mean, by_variance;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const BoundTerm term = row.term(m.at[k], v.at[k], x0.at[k], xt.at[k]);
      by_mean.at[k] = static_cast<float>(mean_factor * term.by_mean * row.slope_of_mean(m.at[k], xt.at[k]));
      by_variance.at[k] = static_cast<float>(known.factor * term.by_log_variance * slope);
    }
    gradient.store_mean(n, inputs.size, first, count, whole, by_mean);
    if (gradient.doubled()) gradient.store_variance(n, inputs.size, first, count, by_variance);
  }
};

}  // namespace

void model_variance(Stream& stream, const ModelVariance& op) {
  const int64_t samples = op.variance.shape[0], size = sample_size(op.variance);
  const bool whole = whole_runs(samples, size, op.variance.f32(), op.log_variance.f32());
  for_runs(stream, ModelVariance::name, samples, size,
           VarianceOf{ModelOutput(ModelVariance::name, op.output, op.variance), op.variance.f32(),
                      op.log_variance.f32(), size, rows_of(stream, op), op.kind, whole});
}

void variational_bound(Stream& stream, const VariationalBound& op) {
  const BoundInputs inputs = inputs_of(stream, op);
  const int64_t samples = op.x0.shape[0];
  const bool whole = whole_runs(samples, inputs.size, op.noise.f32());
  const auto sum = [&]<Quantity quantity>(float* to, double scale, std::integral_constant<Quantity, quantity>) {
    sum_segments(stream, VariationalBound::name, samples, inputs.size,
                 BoundSum<quantity>{inputs, op.noise.f32(), whole},
                 StoreScaled{to, scale, static_cast<double>(inputs.size)});
  };
  sum(op.vb.f32(), kBits, std::integral_constant<Quantity, Quantity::bound>{});
  if (op.x_start_mse) sum(op.x_start_mse.f32(), 1.0, std::integral_constant<Quantity, Quantity::start_error>{});
  if (op.mse) sum(op.mse.f32(), 1.0, std::integral_constant<Quantity, Quantity::noise_error>{});
}

void variational_bound_backward(Stream& stream, const VariationalBoundBackward& op) {
  const BoundInputs inputs = inputs_of(stream, op);
  const int64_t samples = op.x0.shape[0];
  const ModelOutput gradient(VariationalBoundBackward::name, op.grad_output, op.x0);
  for_runs(
      stream, VariationalBoundBackward::name, samples, inputs.size,
      BoundGradient{inputs, gradient, op.grad_vb.f32(), op.detach_mean, gradient.whole_runs_as(samples, inputs.size)});
}

}  // namespace diffusion::cuda
