// Group normalisation, forward (core/ops/group_norm.h).
//   moments:    per channel and chunk (mean, M2) from sums shifted by a pilot
//   statistics: mean, rstd of a group by merging those
//   apply:      y = tail((x − mean)·a + b), a = rstd·gamma·(1 + scale), b = beta·(1 + scale) + shift
//   Shapes  x [N, pixels, C1], x2 [N, pixels, C2] side by side, y [N, pixels, C]; blocks as in group_norm_plan.cuh
//   Bytes   reads x twice, writes y: 12 a value (floor 8)
//   Sums of a thread in f32, everything above in f64, in a fixed order: no atomics, a sample alone gives the same bits.
//   Compiled for sm_80, sm_90a and sm_120 and run on the emulator; never run on a GPU.
#include "core/ops/group_norm.h"
#include "cuda/group_norm_plan.cuh"
#include "cuda/group_norm_tail.cuh"
#include "cuda/ops.h"
#include "cuda/reduce.cuh"
#include "cuda/silu.cuh"

namespace diffusion::cuda {
namespace {

using namespace group_norm_plan;

constexpr int kGroupThreads = 128;
enum Slot { kPartial, kResidual };

// partial[n, chunk, {mean, M2}, C]
KERNEL(kThreads) moments_kernel(Plan plan, Channels x, double* partial) {
  for (int64_t item = blockIdx.x; item < plan.items; item += gridDim.x) {
    const Place place(plan, item);
    const int64_t first = place.n * plan.pixels + place.first, count = place.last - place.first;
    Quad sum, squares;
    if (place.active) {
      const Quad pilot = load(x, first, place.c);
      for (int64_t pixel = place.row; pixel < count; pixel += plan.rows) {
        const Quad value = load(x, first + pixel, place.c);
        for (int i = 0; i < 4; ++i) {
          const float d = value.at[i] - pilot.at[i];
          sum.at[i] += d;
          squares.at[i] = fmaf(d, d, squares.at[i]);
        }
      }
    }
    sum_rows(plan, place, sum, squares, [&](int k, double total, double square) {
      double* to = partial + place.block * 2 * plan.c + k;
      const double m2 = square - total * total / static_cast<double>(count);
      to[0] = static_cast<double>(*x.address(first, k)) + total / static_cast<double>(count);
      to[plan.c] = m2 > 0 ? m2 : 0;
    });
  }
}

// One block a (sample, group): stats[n, g] = (mean, rstd), residual[n, g].
KERNEL(kGroupThreads) statistics_kernel(Plan plan, const double* partial, float eps, float* stats, float* residual) {
  DYN_SMEM(double, shared);
  const int width = plan.c / plan.groups;
  const double size = static_cast<double>(plan.pixels) * width;
  for (int64_t group = blockIdx.x; group < plan.samples * plan.groups; group += gridDim.x) {
    const double* of_group = partial + group / plan.groups * plan.chunks * 2 * plan.c + group % plan.groups * width;
    const auto sum = [&](auto term) {
      double total = 0;
      for (int64_t i = threadIdx.x; i < plan.chunks * width; i += kGroupThreads) {
        const int64_t chunk = i / width, rest = plan.pixels - chunk * plan.chunk;
        const double* at = of_group + chunk * 2 * plan.c + i % width;
        total += term(static_cast<double>(rest < plan.chunk ? rest : plan.chunk), at[0], at[plan.c]);
      }
      return block_sum<kGroupThreads>(total, shared);
    };
    const double mean = sum([](double count, double mean, double) { return count * mean; }) / size;
    const double squares = sum([=](double count, double of_channel, double m2) {
      return m2 + count * (of_channel - mean) * (of_channel - mean);
    });
    if (threadIdx.x == 0) {
      const double rstd = 1.0 / sqrt(squares / size + static_cast<double>(eps));
      const float stored = static_cast<float>(mean);
      stats[2 * group] = stored;
      stats[2 * group + 1] = static_cast<float>(rstd);
      residual[group] = static_cast<float>((static_cast<double>(stored) - mean) * rstd);
    }
  }
}

template <bool dropout>
KERNEL(kThreads)
apply_kernel(Plan plan, Coefficients of, Channels x, Channels y) {
  const Generator g = dropout ? resolve(of.rng) : Generator{};
  for (int64_t item = blockIdx.x; item < plan.items; item += gridDim.x) {
    const Place place(plan, item);
    if (!place.active) continue;
    const Affine map(plan, of, place.n, place.c);
    for (int64_t pixel = place.first + place.row; pixel < place.last; pixel += plan.rows) {
      const int64_t at = place.n * plan.pixels + pixel;
      Quad value = load(x, at, place.c);
      for (int i = 0; i < 4; ++i) {
        value.at[i] = fmaf(value.at[i] - map.centre.at[i], map.slope.at[i], map.offset.at[i]);
        if (of.silu) value.at[i] = silu_f32(value.at[i]);
      }
      if constexpr (dropout) {
        const Quad factor = dropout_factors(of, g, place.n, pixel * plan.c + place.c);
        for (int i = 0; i < 4; ++i) value.at[i] = factor.at[i] == 0.0f ? 0.0f : value.at[i] * factor.at[i];
      }
      store(y, at, place.c, value);
    }
  }
}

}  // namespace

void group_norm(Stream& stream, const GroupNorm& op) {
  const Plan plan(op.x, op.x2, op.groups);
  const Channels x(op.x, op.x2), y(op.y);
  auto* partial = static_cast<double*>(stream.scratch(kPartial, plan.partials() * sizeof(double)));
  float* residual = stream.scratch_floats(kResidual, plan.samples * plan.groups);
  const unsigned grid = grid_of(plan.items);
  LAUNCH(moments_kernel, grid, kThreads, plan.shared_bytes(), stream.handle, plan, x, partial);
  LAUNCH(statistics_kernel, grid_of(plan.samples * plan.groups), kGroupThreads, kGroupThreads / 32 * sizeof(double),
         stream.handle, plan, partial, op.eps, op.stats.f32(), residual);
  const Coefficients of(op, residual);
  if (op.dropout > 0.0f)
    LAUNCH((apply_kernel<true>), grid, kThreads, 0, stream.handle, plan, of, x, y);
  else
    LAUNCH((apply_kernel<false>), grid, kThreads, 0, stream.handle, plan, of, x, y);
  check_launch("groupNorm");
}

}  // namespace diffusion::cuda
