// Group normalisation, forward (core/ops/group_norm.h).
//   pass 1: (mean, M2) per group and block from sums per channel, shifted by a pilot, unless sums are given
//   → mean, rstd of a group
//   pass 2: y = tail((x − mean)·a + b) with a, b per (sample, channel)
// Sums over the pixels of a block in f32, everything above in f64, in the order of channels, blocks, samples.
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

// Of group j from its blocks (Chan, Golub & LeVeque 1983), whose moments lie `groups` apart.
Moments group_of_blocks(const GroupNormPlan& plan, const Moments* block_moments) {
  const auto channels = static_cast<double>(plan.c / plan.groups);
  double mean = 0, squares = 0;
  for (int64_t block = 0; block < plan.blocks; ++block)
    mean += static_cast<double>(plan.pixels_of(block)) * block_moments[block * plan.groups].mean;
  mean /= static_cast<double>(plan.pixels);
  for (int64_t block = 0; block < plan.blocks; ++block) {
    const auto [own, within] = block_moments[block * plan.groups];
    squares += within + static_cast<double>(plan.pixels_of(block)) * channels * (own - mean) * (own - mean);
  }
  return {mean, squares};
}

// Of the channels from k on that are a group, over `pixels` pixels, from sums of x − pilot and of its square.
Moments group_of_channels(const GroupNormPlan& plan, int64_t k, int64_t pixels, const float* pilot, const float* sum,
                          const float* squares) {
  const auto count = static_cast<double>(pixels), channels = static_cast<double>(plan.c / plan.groups);
  const double share = 1 / count;
  double first = 0, apart = 0, apart_squares = 0, within = 0;
  for (int64_t i = 0; i < plan.c / plan.groups; ++i) {
    const double total = fold_channel(plan, sum, k + i), shift = total * share;
    const double mean = static_cast<double>(pilot[k + i]) + shift;
    if (i == 0) first = mean;
    apart += mean - first;
    apart_squares += (mean - first) * (mean - first);
    within += std::max(0.0, fold_channel(plan, squares, k + i) - total * shift);
  }
  const double between = std::max(0.0, apart_squares - apart * apart / channels);
  return {first + apart / channels, within + count * between};
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
  // partial[n, block, group]
  auto* partial =
      static_cast<Moments*>(stream.scratch.get(kPartial, sizeof(Moments) * plan.n * plan.blocks * plan.groups));
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
    Moments* const moments_of = partial + (n * plan.blocks + block) * plan.groups;
    for (int64_t j = 0; j < plan.groups; ++j)
      moments_of[j] = group_of_channels(plan, j * group, pixels, pilot, sum, squares);
  };

  const auto coefficients = [&](int64_t n, bool owner) {
    for (int64_t j = 0; j < plan.groups; ++j) {
      const auto [mean, squares] =
          op.sums ? group_of_sums(op, plan, n, j) : group_of_blocks(plan, partial + n * plan.blocks * plan.groups + j);
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
