// Group normalisation, forward (core/ops/group_norm.h).
//   pass 1: per channel and block (mean, M2) from sums shifted by a pilot, unless sums are given;  → mean, rstd of a
//   group pass 2: y = tail((x − mean)·a + b) with a, b per (sample, channel) Sums of a block in f32, everything above a
//   block in f64, in the order of blocks, channels, samples.
#include "core/ops/group_norm.h"

#include <cmath>

#include "cpu/float_types.h"
#include "cpu/group_norm_affine.h"
#include "cpu/ops.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

enum Slot { kPartial, kThreadRows };

struct Moments {
  double mean, squares;  // Σ (x − mean)²
};

// Of group j of sample n, from (mean, M2) of its blocks and channels.
Moments group_of_blocks(const GroupNormPlan& plan, const double* partial, int64_t n, int64_t j) {
  const int64_t c = plan.c, group = c / plan.groups;
  const double* moments_of = partial + n * plan.blocks * 2 * c;
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
  return {mean, squares};
}

// From the sums that the convolutions before left.
Moments group_of_sums(const GroupNorm& op, const GroupNormPlan& plan, int64_t n, int64_t j) {
  const int64_t group = plan.c / plan.groups;
  const View* const sums[2] = {&op.sums, &op.sums2};
  double sum = 0, squares = 0;
  for (int64_t k = j * group; k < (j + 1) * group; ++k) {
    const int s = k >= plan.sources[0].channels;
    const int64_t channels = plan.sources[s].channels, pieces = sums[s]->shape[1];
    const float* at = sums[s]->f32() + (n * pieces * channels + k - plan.sources[s].offset) * 2;
    for (int64_t piece = 0; piece < pieces; ++piece, at += 2 * channels) {
      sum += static_cast<double>(at[0]);
      squares += static_cast<double>(at[1]);
    }
  }
  const double mean = sum / plan.group_size();
  return {mean, std::max(0.0, squares - sum * mean)};
}

template <class T>
void normalise(Stream& stream, const GroupNorm& op) {
  const GroupNormPlan plan(op.x, op.x2, op.groups);
  const Tail tail = tail_of(op);
  const auto apply = group_norm_rows::apply_for<T>(tail);
  const Generator g = resolve(op.rng);
  const T* inputs[2] = {op.x.as<T>(), op.x2.as<T>()};
  const int64_t c = plan.c, group = c / plan.groups;
  // partial[n, block, {mean, M2}, C]
  auto* partial = static_cast<double*>(stream.scratch.get(kPartial, sizeof(double) * plan.n * plan.blocks * 2 * c));
  enum { kCentre, kSlope, kOffset, kPilot, kSum, kSquares, kRows };
  const ThreadRows rows(stream, kThreadRows, plan, kRows);

  const auto moments = [&](int64_t n, int64_t block) {
    if (op.sums) return;
    float *pilot = rows[kPilot], *sum = rows[kSum], *squares = rows[kSquares];
    std::fill(sum, sum + plan.row, 0.0f);
    std::fill(squares, squares + plan.row, 0.0f);
    const int64_t pixels = plan.pixels_of(block), full = pixels / plan.fold;
    for (int s = 0; s < plan.source_count; ++s) {
      const auto [channels, offset] = plan.sources[s];
      const int64_t pitch = plan.fold * channels;
      const T* x = inputs[s] + (n * plan.pixels + plan.first_pixel(block)) * channels;
      for (int64_t k = 0; k < channels; ++k) pilot[offset + k] = widen(x[k]);
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
    for (int64_t j = 0; j < plan.groups; ++j) {
      const auto [mean, squares] = op.sums ? group_of_sums(op, plan, n, j) : group_of_blocks(plan, partial, n, j);
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
        apply(tail, z_of + plan.sources[s].offset, words + word, inputs[s] + from, op.y.as<T>() + to, length);
      });
    });
  };

  two_passes(stream, plan, [](int64_t) {}, moments, coefficients, apply_block);
}

}  // namespace

void group_norm(Stream& stream, const GroupNorm& op) {
  with_float(op.x.dtype, [&](auto type) { normalise<decltype(type)>(stream, op); });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
