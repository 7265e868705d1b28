// The model's variance and the variational bound (core/ops/variational.h), element by element in float64.
#include "core/ops/variational.h"

#include <cmath>

#include "cpu/math.h"
#include "cpu/ops.h"
#include "cpu/process_rows.h"
#include "cpu/sum.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

constexpr double kBits = 1.44269504088896340736;  // 1 / ln 2

// The operands of elements [first, first + count) of a sample, whose channels are gathered into the buffers.
struct Piece {
  alignas(64) float mean_buffer[kRandomChunk], variance_buffer[kRandomChunk];
  const float *m, *v;

  Piece(const ModelOutput& output, Variance variance, int64_t n, int64_t first, int64_t count)
      : m(output.mean(n, first, count, mean_buffer)),
        v(variance == Variance::fixed ? m : output.variance(n, first, count, variance_buffer)) {}
};

template <class Op>
BoundRow row_of(const Op& op, int64_t n) {
  const int32_t t = op.t.i32()[n];
  float row[BoundRow::kColumns];
  std::memcpy(row, op.table.f32() + static_cast<int64_t>(t) * BoundRow::kColumns, sizeof row);
  return {row, op.clip, op.variance, t == 0};
}

}  // namespace

void model_variance(Stream& stream, const ModelVariance& op) {
  check_rows<ModelVariance>(op.t, op.table.shape[0]);
  const ModelOutput output(op.output, op.variance);
  const int64_t size = op.variance.size() == 0 ? 0 : op.variance.per_sample();
  for_chunks(stream, op.variance, 8, [&](int64_t n, int64_t first, int64_t count) {
    alignas(64) float buffer[kRandomChunk];
    const float* v = output.variance(n, first, count, buffer);
    const float* row = op.table.f32() + 2 * op.t.i32()[n];
    const LogVariance log_variance(op.kind, row[0], row[1]);
    float* variances = op.variance.f32() + n * size + first;
    float* logarithms = op.log_variance.f32() + n * size + first;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      logarithms[i] = log_variance(v[i]);
      variances[i] = exp_f32(log_variance(v[i]));
    }
  });
}

void variational_bound(Stream& stream, const VariationalBound& op) {
  check_rows<VariationalBound>(op.t, op.table.shape[0]);
  if (op.x0.size() == 0) return;
  const ModelOutput output(op.output, op.x0);
  const int64_t samples = op.x0.shape[0], size = op.x0.per_sample();
  const auto sum_block = [&](int64_t n, int64_t first, int64_t last, double* sums) {
    const BoundRow row = row_of(op, n);
    sums[0] = sums[1] = sums[2] = 0;
    for (int64_t begin = first; begin < last; begin += kRandomChunk) {
      const int64_t count = std::min(kRandomChunk, last - begin), at = n * size + begin;
      const Piece piece(output, op.variance, n, begin, count);
      const float *x0 = op.x0.f32() + at, *xt = op.xt.f32() + at, *m = piece.m, *v = piece.v;
      sums[0] += sum_terms(0, count, [&](int64_t i) { return row.term(m[i], v[i], x0[i], xt[i]).value; });
      if (op.x_start_mse)
        sums[1] += sum_terms(0, count, [&](int64_t i) { return row.start_error(m[i], x0[i], xt[i]); });
      if (!op.mse) continue;
      const float* noise = op.noise.f32() + at;
      sums[2] += sum_terms(0, count, [&](int64_t i) { return row.noise_error(m[i], xt[i], noise[i]); });
    }
  };
  const double* sums = sum_blocks_of<3>(stream, samples, size, sum_block);
  const auto elements = static_cast<double>(size);
  for (int64_t n = 0; n < samples; ++n) {
    op.vb.f32()[n] = static_cast<float>(sums[3 * n] * kBits / elements);
    if (op.x_start_mse) op.x_start_mse.f32()[n] = static_cast<float>(sums[3 * n + 1] / elements);
    if (op.mse) op.mse.f32()[n] = static_cast<float>(sums[3 * n + 2] / elements);
  }
}

void variational_bound_backward(Stream& stream, const VariationalBoundBackward& op) {
  check_rows<VariationalBoundBackward>(op.t, op.table.shape[0]);
  const ModelOutput output(op.output, op.x0);
  const int64_t size = op.x0.size() == 0 ? 0 : op.x0.per_sample(), channels = op.x0.channels();
  for_chunks(stream, op.x0, 64, [&](int64_t n, int64_t first, int64_t count) {
    const BoundRow row = row_of(op, n);
    const double factor = static_cast<double>(op.grad_vb.f32()[n]) * kBits / static_cast<double>(size);
    const double slope = row.slope_of_log_variance();
    const Piece piece(output, op.variance, n, first, count);
    const float *x0 = op.x0.f32() + n * size + first, *xt = op.xt.f32() + n * size + first;
    int64_t channel = first % channels;
    float* to =
        op.grad_output.f32() + (output.doubled() ? 2 * (n * size + first - channel) + channel : n * size + first);
    for (int64_t i = 0; i < count; ++i, ++to) {
      const float m = piece.m[i];
      const BoundTerm term = row.term(m, piece.v[i], x0[i], xt[i]);
      *to = op.detach_mean ? 0.0f : static_cast<float>(factor * term.by_mean * row.slope_of_mean(m, xt[i]));
      if (!output.doubled()) continue;
      to[channels] = static_cast<float>(factor * term.by_log_variance * slope);
      if (++channel < channels) continue;
      channel = 0;
      to += channels;
    }
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
