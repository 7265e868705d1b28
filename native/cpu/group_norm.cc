// Group normalisation, forward and backward (core/ops/group_norm.h).
//   forward   pass 1: per channel and block (mean, M2) from sums shifted by a pilot;  → mean, rstd of a group
//             pass 2: y = tail((x − mean)·a + b) with a, b per (sample, channel)
//   backward  with dz the gradient of (x − mean)·a + b, per channel A = Σ dz, B = Σ dz·x̂, w = gamma·(1 + scale):
//             pass 1: dz (kept in dx), A, B
//             pass 2: dx = rstd·(w·dz − Σ_group w·A/M − x̂·Σ_group w·B/M)
//   Sums of a block in f32, everything above a block in f64, in the order of blocks, channels, samples.
#include "core/ops/group_norm.h"

#include <cmath>

#include "cpu/group_norm_plan.h"
#include "cpu/group_norm_rows.h"
#include "cpu/ops.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

using group_norm_rows::Affine;
using group_norm_rows::Tail;

enum Slot { kPartial, kThreadRows, kGradients };

template <class Op>
Tail tail_of(const Op& op) {
  return {op.silu, op.dropout > 0.0f, op.dropout, 1.0f / (1.0f - op.dropout)};
}

// Slope and offset of a channel's z for mean and rstd of its group; `centre` is the mean that will be subtracted.
template <class Op>
void set_affine(const Op& op, int64_t n, int64_t c, int64_t k, double mean, double rstd, float centre, float* slope,
                float* offset) {
  double a = rstd * static_cast<double>(op.gamma.f32()[k]), b = op.beta.f32()[k];
  if (op.scale_shift) {
    const float* row = op.scale_shift.f32() + n * 2 * c;
    const double factor = 1.0 + static_cast<double>(row[k]);
    a *= factor;
    b = b * factor + static_cast<double>(row[c + k]);
  }
  *slope = static_cast<float>(a);
  *offset = static_cast<float>(b + (static_cast<double>(centre) - mean) * a);
}

const uint32_t* draw(const GroupNormPlan& plan, const Tail& tail, const Generator& g, int64_t n, int64_t pixel,
                     int64_t count, uint32_t* buffer) {
  if (!tail.dropout) return buffer;
  return random_words(g, static_cast<uint32_t>(n), pixel * plan.c, count * plan.c, buffer);
}

}  // namespace

void group_norm(Stream& stream, const GroupNorm& op) {
  const GroupNormPlan plan(op.x, op.x2, op.groups);
  const Tail tail = tail_of(op);
  const auto apply = group_norm_rows::apply_for(tail);
  const Generator g = resolve(op.rng);
  const float* inputs[2] = {op.x.f32(), op.x2.f32()};
  const int64_t c = plan.c, group = c / plan.groups;
  // partial[n, block, {mean, M2}, C]
  auto* partial = static_cast<double*>(stream.scratch.get(kPartial, sizeof(double) * plan.n * plan.blocks * 2 * c));
  enum { kCentre, kSlope, kOffset, kPilot, kSum, kSquares, kRows };
  const ThreadRows rows(stream, kThreadRows, plan, kRows);

  const auto moments = [&](int64_t n, int64_t block) {
    float *pilot = rows[kPilot], *sum = rows[kSum], *squares = rows[kSquares];
    std::fill(sum, sum + plan.row, 0.0f);
    std::fill(squares, squares + plan.row, 0.0f);
    const int64_t pixels = plan.pixels_of(block), full = pixels / plan.fold;
    for (int s = 0; s < plan.source_count; ++s) {
      const auto [channels, offset] = plan.sources[s];
      const int64_t pitch = plan.fold * channels;
      const float* x = inputs[s] + (n * plan.pixels + plan.first_pixel(block)) * channels;
      std::copy(x, x + channels, pilot + offset);
      repeat(plan, pilot);
      group_norm_rows::add_moments(x, full, pitch, pitch, pilot + offset, sum + offset, squares + offset);
      group_norm_rows::add_moments(x + full * pitch, 1, pixels % plan.fold * channels, 0, pilot + offset, sum + offset,
                                   squares + offset);
    }
    double* mean = partial + (n * plan.blocks + block) * 2 * c;
    for (int64_t k = 0; k < c; ++k) {
      const double total = fold_channel(plan, sum, k), count = static_cast<double>(pixels);
      mean[k] = static_cast<double>(pilot[k]) + total / count;
      mean[c + k] = std::max(0.0, fold_channel(plan, squares, k) - total * total / count);
    }
  };

  const auto coefficients = [&](int64_t n, bool owner) {
    const double* moments_of = partial + n * plan.blocks * 2 * c;
    for (int64_t j = 0; j < plan.groups; ++j) {
      double mean = 0, squares = 0;
      for (int64_t block = 0; block < plan.blocks; ++block)
        for (int64_t k = j * group; k < (j + 1) * group; ++k)
          mean += static_cast<double>(plan.pixels_of(block)) * moments_of[block * 2 * c + k];
      mean /= plan.group_size();
      for (int64_t block = 0; block < plan.blocks; ++block)
        for (int64_t k = j * group; k < (j + 1) * group; ++k) {
          const double* at = moments_of + block * 2 * c + k;
          squares += at[c] + static_cast<double>(plan.pixels_of(block)) * (at[0] - mean) * (at[0] - mean);
        }
      const double rstd = 1.0 / std::sqrt(squares / plan.group_size() + static_cast<double>(op.eps));
      const float centre = static_cast<float>(mean);
      if (owner) {
        float* stats = op.stats.f32() + (n * plan.groups + j) * 2;
        stats[0] = centre;
        stats[1] = static_cast<float>(rstd);
      }
      for (int64_t k = j * group; k < (j + 1) * group; ++k) {
        rows[kCentre][k] = centre;
        set_affine(op, n, c, k, mean, rstd, centre, rows[kSlope] + k, rows[kOffset] + k);
      }
    }
    for (int i : {kCentre, kSlope, kOffset}) repeat(plan, rows[i]);
  };

  const auto apply_block = [&](int64_t n, int64_t block) {
    const Affine z_of{rows[kCentre], rows[kSlope], rows[kOffset]};
    plan.for_stretches(block, [&](int64_t pixel, int64_t count) {
      const uint32_t* words = draw(plan, tail, g, n, pixel, count, rows.words());
      for_rows(plan, n, pixel, count, [&](int s, int64_t from, int64_t to, int64_t word, int64_t length) {
        apply(tail, z_of + plan.sources[s].offset, words + word, inputs[s] + from, op.y.f32() + to, length);
      });
    });
  };

  two_passes(stream, plan, [](int64_t) {}, moments, coefficients, apply_block);
}

void group_norm_backward(Stream& stream, const GroupNormBackward& op) {
  const GroupNormPlan plan(op.x, op.x2, op.groups);
  const Tail tail = tail_of(op);
  const auto differentiate = group_norm_rows::differentiate_for(tail);
  const Generator g = resolve(op.rng);
  const float* inputs[2] = {op.x.f32(), op.x2.f32()};
  float* outputs[2] = {op.dx.f32(), op.dx2.f32()};
  const int64_t c = plan.c, group = c / plan.groups;
  // partial[n, block, {Σ dz, Σ dz·(x − mean)}, C], gradients[n, {dgamma, dbeta}, C]
  auto* partial = static_cast<double*>(stream.scratch.get(kPartial, sizeof(double) * plan.n * plan.blocks * 2 * c));
  auto* gradients = static_cast<double*>(stream.scratch.get(kGradients, sizeof(double) * plan.n * 2 * c));
  enum { kCentre, kSlope, kOffset, kSum, kProduct, kPull, kLift, kRows };
  const ThreadRows rows(stream, kThreadRows, plan, kRows);

  const auto coefficients = [&](int64_t n) {
    for (int64_t k = 0; k < c; ++k) {
      const float* stats = op.stats.f32() + (n * plan.groups + k / group) * 2;
      rows[kCentre][k] = stats[0];
      set_affine(op, n, c, k, stats[0], stats[1], stats[0], rows[kSlope] + k, rows[kOffset] + k);
    }
    for (int i : {kCentre, kSlope, kOffset}) repeat(plan, rows[i]);
  };

  const auto differentiate_block = [&](int64_t n, int64_t block) {
    const Affine z_of{rows[kCentre], rows[kSlope], rows[kOffset]};
    float *sum = rows[kSum], *product = rows[kProduct];
    std::fill(sum, sum + plan.row, 0.0f);
    std::fill(product, product + plan.row, 0.0f);
    plan.for_stretches(block, [&](int64_t pixel, int64_t count) {
      const uint32_t* words = draw(plan, tail, g, n, pixel, count, rows.words());
      for_rows(plan, n, pixel, count, [&](int s, int64_t from, int64_t to, int64_t word, int64_t length) {
        const int64_t offset = plan.sources[s].offset;
        differentiate(tail, z_of + offset, words + word, op.dy.f32() + to, inputs[s] + from, outputs[s] + from,
                      sum + offset, product + offset, length);
      });
    });
    double* sums = partial + (n * plan.blocks + block) * 2 * c;
    for (int64_t k = 0; k < c; ++k) {
      sums[k] = fold_channel(plan, sum, k);
      sums[c + k] = fold_channel(plan, product, k);
    }
  };

  const auto pulls = [&](int64_t n, bool owner) {
    const double* sums = partial + n * plan.blocks * 2 * c;
    const float* scale_shift = op.scale_shift ? op.scale_shift.f32() + n * 2 * c : nullptr;
    for (int64_t j = 0; j < plan.groups; ++j) {
      const double rstd = op.stats.f32()[(n * plan.groups + j) * 2 + 1];
      double mean = 0, correlation = 0;  // of w·dz and of w·dz·x̂
      for (int64_t k = j * group; k < (j + 1) * group; ++k) {
        double a = 0, b = 0;
        for (int64_t block = 0; block < plan.blocks; ++block) {
          a += sums[block * 2 * c + k];
          b += sums[block * 2 * c + c + k];
        }
        b *= rstd;
        const double factor = scale_shift ? 1.0 + static_cast<double>(scale_shift[k]) : 1.0;
        const double gamma = op.gamma.f32()[k];
        mean += gamma * factor * a;
        correlation += gamma * factor * b;
        if (!owner) continue;
        gradients[n * 2 * c + k] = factor * b;
        gradients[n * 2 * c + c + k] = factor * a;
        if (!scale_shift) continue;
        float* dscale_shift = op.dscale_shift.f32() + n * 2 * c;
        dscale_shift[k] = static_cast<float>(gamma * b + static_cast<double>(op.beta.f32()[k]) * a);
        dscale_shift[c + k] = static_cast<float>(a);
      }
      for (int64_t k = j * group; k < (j + 1) * group; ++k) {
        rows[kPull][k] = static_cast<float>(rstd * rstd * correlation / plan.group_size());
        rows[kLift][k] = static_cast<float>(rstd * mean / plan.group_size());
      }
    }
    for (int i : {kPull, kLift}) repeat(plan, rows[i]);
  };

  const auto finish_block = [&](int64_t n, int64_t block) {
    const Affine z_of{rows[kCentre], rows[kSlope], rows[kOffset]};
    for_rows(plan, n, plan.first_pixel(block), plan.pixels_of(block),
             [&](int s, int64_t from, int64_t, int64_t, int64_t length) {
               const int64_t offset = plan.sources[s].offset;
               group_norm_rows::finish_row(z_of + offset, rows[kPull] + offset, rows[kLift] + offset, inputs[s] + from,
                                           outputs[s] + from, length);
             });
  };

  two_passes(stream, plan, coefficients, differentiate_block, pulls, finish_block);

  float *dgamma = op.dgamma.f32(), *dbeta = op.dbeta.f32();
  for (int64_t k = 0; k < c; ++k) {
    double gamma = op.accumulate ? dgamma[k] : 0.0, beta = op.accumulate ? dbeta[k] : 0.0;
    for (int64_t n = 0; n < plan.n; ++n) {
      gamma += gradients[n * 2 * c + k];
      beta += gradients[n * 2 * c + c + k];
    }
    dgamma[k] = static_cast<float>(gamma);
    dbeta[k] = static_cast<float>(beta);
  }
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
