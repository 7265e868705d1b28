// Group normalisation, forward (core/ops/group_norm.h).
//   moments:    per channel and chunk (mean, M2) from sums shifted by a pilot; where the convolutions that made x left
//               Σ and Σ² of every piece of its pixels, those instead
//   statistics: mean, rstd of a group by merging those (Chan et al. 1979)
//   apply:      y = tail((x − mean)·a + b), a = rstd·gamma·(1 + scale), b = beta·(1 + scale) + shift
//   Shapes  x [N, pixels, C1], x2 [N, pixels, C2] side by side, y [N, pixels, C], f32 or bf16; blocks as in
//           group_norm_plan.cuh
//   Bytes   reads x twice, with sums once, writes y: three accesses a value, or two
//   Sums of a thread in f32, everything above in f64, in a fixed order: no atomics, a sample alone gives the same bits.
//   Compiled for sm_80, sm_90 and sm_120 and run on the emulator; never run on a GPU.
#include "core/error.h"
#include "core/ops/group_norm.h"
#include "cuda/dispatch.cuh"
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
template <class T>
KERNEL(kThreads, 2)
moments_kernel(Plan plan, Channels<T> x, double* partial) {
  constexpr int n = kPack<T>;
  for (int64_t item = blockIdx.x; item < plan.items; item += gridDim.x) {
    const Place<n> place(plan, item);
    const int64_t first = place.first, count = place.last - first;
    Values<T> sum{}, squares{};
    if (place.active) {
      const Values<T> pilot = x.load(first, place.c);
      for (int64_t at = first + place.row; at < place.last; at += plan.rows) {
        const Values<T> value = x.load(at, place.c);
        for (int i = 0; i < n; ++i) {
          const float d = value.at[i] - pilot.at[i];
          sum.at[i] += d;
          squares.at[i] = fmaf(d, d, squares.at[i]);
        }
      }
    }
    sum_rows(plan, place, sum, squares, [&](int k, double total, double square) {
      double* to = partial + place.block * 2 * plan.c + k;
      const double m2 = square - total * total / static_cast<double>(count);
      to[0] = static_cast<double>(to_float(*x.address(first, k))) + total / static_cast<double>(count);
      to[plan.c] = m2 > 0 ? m2 : 0;
    });
  }
}

// What moments_kernel left. each(plan, group, f) calls f(count, mean, M2) for this thread's share of the pieces of the
// group.
struct Partial {
  const double* data;

  template <class F>
  DEVICE void each(const Plan& plan, int64_t group, const F& f) const {
    const int width = plan.c / plan.groups;
    const double* of_group = data + group / plan.groups * plan.chunks * 2 * plan.c + group % plan.groups * width;
    for (int64_t i = threadIdx.x; i < plan.chunks * width; i += kGroupThreads) {
      const int64_t chunk = i / width, rest = plan.pixels - chunk * plan.chunk;
      const double* at = of_group + chunk * 2 * plan.c + i % width;
      f(static_cast<double>(rest < plan.chunk ? rest : plan.chunk), at[0], at[plan.c]);
    }
  }
};

// What convolutions left: [N, pieces, channels, {Σ, Σ²}] of one tensor or of two side by side.
struct Sums {
  struct Part {
    const float* data;
    int64_t pieces;
    int first, channels;  // its channels in the whole
    double count;         // pixels of a piece
  } parts[2];

  Sums(const GroupNorm& op, const Plan& plan) {
    const int c1 = static_cast<int>(op.x.channels());
    parts[0] = part(op.sums, 0, c1, plan.pixels);
    parts[1] = part(op.sums2, c1, plan.c - c1, plan.pixels);
  }
  static Part part(const View& sums, int first, int channels, int64_t pixels) {
    if (!sums) return {nullptr, 0, first, channels, 0};
    const int64_t pieces = sums.shape[1];
    if (pieces == 0 || pixels % pieces != 0)
      fail(code::shape, "groupNorm: %lld pieces of sums do not divide %lld pixels", static_cast<long long>(pieces),
           static_cast<long long>(pixels));
    return {sums.f32(), pieces, first, channels, static_cast<double>(pixels / pieces)};
  }

  template <class F>
  DEVICE void each(const Plan& plan, int64_t group, const F& f) const {
    const int width = plan.c / plan.groups, begin = static_cast<int>(group % plan.groups) * width;
    for (int p = 0; p < 2; ++p) {
      const Part part = parts[p];
      const int from = max(begin, part.first), to = min(begin + width, part.first + part.channels);
      if (part.data == nullptr || from >= to) continue;
      const float* data = part.data + group / plan.groups * part.pieces * part.channels * 2;
      for (int64_t i = threadIdx.x; i < part.pieces * (to - from); i += kGroupThreads) {
        const int64_t piece = i / (to - from), k = from - part.first + i % (to - from);
        const float* at = data + (piece * part.channels + k) * 2;
        const double sum = at[0], mean = sum / part.count, m2 = static_cast<double>(at[1]) - sum * mean;
        f(part.count, mean, m2 > 0 ? m2 : 0);
      }
    }
  }
};

// One block a (sample, group): stats[n, g] = (mean, rstd), residual[n, g].
template <class Moments>
KERNEL(kGroupThreads, 4)
statistics_kernel(Plan plan, Moments moments, float eps, float* stats, float* residual) {
  DYN_SMEM(double, shared);
  const double size = static_cast<double>(plan.pixels) * (plan.c / plan.groups);
  for (int64_t group = blockIdx.x; group < plan.samples * plan.groups; group += gridDim.x) {
    const auto sum = [&](auto term) {
      double total = 0;
      moments.each(plan, group, [&](double count, double mean, double m2) { total += term(count, mean, m2); });
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

template <bool dropout, class T>
KERNEL(kThreads, 2)
apply_kernel(Plan plan, Coefficients of, Channels<T> x, Channels<T> y) {
  constexpr int n = kPack<T>;
  const Generator g = dropout ? resolve(of.rng) : Generator{};
  for (int64_t item = blockIdx.x; item < plan.items; item += gridDim.x) {
    const Place<n> place(plan, item);
    if (!place.active) continue;
    const Affine<n> map(plan, of, place.n, place.c);
    for (int64_t at = place.first + place.row; at < place.last; at += plan.rows) {
      Values<T> value = x.load(at, place.c);
      for (int i = 0; i < n; ++i) {
        value.at[i] = fmaf(value.at[i] - map.centre.at[i], map.slope.at[i], map.offset.at[i]);
        if (of.silu) value.at[i] = silu_of<T>(value.at[i]);
      }
      if constexpr (dropout) apply_dropout(value, of, g, place.n, place.element(plan, at));
      y.store(at, place.c, value);
    }
  }
}

template <class Moments>
void statistics(Stream& stream, const GroupNorm& op, const Plan& plan, const Moments& moments, float* residual) {
  LAUNCH((statistics_kernel<Moments>), grid_of(plan.samples * plan.groups), kGroupThreads,
         kGroupThreads / 32 * sizeof(double), stream.handle, plan, moments, op.eps, op.stats.f32(), residual);
}

template <class T>
void normalise(Stream& stream, const GroupNorm& op) {
  const Plan plan(op.x, op.x2, op.groups, kPack<T>);
  const Channels<T> x(op.x, op.x2), y(op.y);
  float* residual = stream.scratch_floats(kResidual, plan.samples * plan.groups);
  const unsigned grid = grid_of(plan.items);
  if (op.sums) {
    statistics(stream, op, plan, Sums(op, plan), residual);
  } else {
    auto* partial = static_cast<double*>(stream.scratch(kPartial, plan.partials() * sizeof(double)));
    LAUNCH((moments_kernel<T>), grid, kThreads, plan.shared_bytes(), stream.handle, plan, x, partial);
    statistics(stream, op, plan, Partial{partial}, residual);
  }
  const Coefficients of(op, residual);
  if (op.dropout > 0.0f)
    LAUNCH((apply_kernel<true, T>), grid, kThreads, 0, stream.handle, plan, of, x, y);
  else
    LAUNCH((apply_kernel<false, T>), grid, kThreads, 0, stream.handle, plan, of, x, y);
  check_launch("groupNorm");
}

}  // namespace

void group_norm(Stream& stream, const GroupNorm& op) {
  with_float(op.x.dtype, [&](auto t) { normalise<decltype(t)>(stream, op); });
}

}  // namespace diffusion::cuda
