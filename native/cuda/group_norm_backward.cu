// Group normalisation, backward (core/ops/group_norm.h).
//   With dz the gradient of (x − mean)·a + b, per channel A = Σ dz, B = Σ dz·x̂, w = gamma·(1 + scale), M values a
//   group:
//   differentiate: A, B per chunk
//   pulls:         Σ_group w·A, Σ_group w·B;  dshift = A, dscale = gamma·B + beta·A
//   finish:        dx = rstd·(w·dz − Σ_group w·A/M − x̂·Σ_group w·B/M), dz computed again: cheaper than to keep it
//   parameters:    dgamma = Σ_n (1 + scale)·B, dbeta = Σ_n (1 + scale)·A
//   Shapes  as forward; dx [N, pixels, C1], dx2 [N, pixels, C2]
//   Bytes   reads dy and x twice, writes dx: five accesses a value (floor three)
//   Sums of a thread in f32, everything above in f64, in a fixed order: no atomics.
//   Compiled for sm_80, sm_90 and sm_120 and run on the emulator; never run on a GPU.
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
enum Slot { kPartial, kPulls, kGradients };

// dz at one pixel, for the channels of a thread.
template <bool dropout, class T>
DEVICE Values<T> gradient_at(const Plan& plan, const Coefficients& of, const Generator& g, const Channels<T>& dy,
                             const Affine<kPack<T>>& map, const Place<kPack<T>>& place, int64_t at,
                             const Values<T>& value) {
  Values<T> dz = dy.load(at, place.c);
  if constexpr (dropout) apply_dropout(dz, of, g, place.n, place.element(plan, at));
  if (of.silu)
    for (int i = 0; i < kPack<T>; ++i)
      dz.at[i] *= silu_slope<T>(fmaf(value.at[i] - map.centre.at[i], map.slope.at[i], map.offset.at[i]));
  return dz;
}

// partial[n, chunk, {Σ dz, Σ dz·(x − mean)}, C]
template <bool dropout, class T>
KERNEL(kThreads, 2)
differentiate_kernel(Plan plan, Coefficients of, Channels<T> dy, Channels<T> x, double* partial) {
  constexpr int n = kPack<T>;
  const Generator g = dropout ? resolve(of.rng) : Generator{};
  for (int64_t item = blockIdx.x; item < plan.items; item += gridDim.x) {
    const Place<n> place(plan, item);
    Values<T> sum{}, product{};
    if (place.active) {
      const Affine<n> map(plan, of, place.n, place.c);
      for (int64_t at = place.first + place.row; at < place.last; at += plan.rows) {
        const Values<T> value = x.load(at, place.c);
        const Values<T> dz = gradient_at<dropout>(plan, of, g, dy, map, place, at, value);
        for (int i = 0; i < n; ++i) {
          sum.at[i] += dz.at[i];
          product.at[i] = fmaf(dz.at[i], value.at[i] - map.centre.at[i], product.at[i]);
        }
      }
    }
    sum_rows(plan, place, sum, product, [&](int k, double a, double b) {
      partial[place.block * 2 * plan.c + k] = a;
      partial[place.block * 2 * plan.c + plan.c + k] = b;
    });
  }
}

// One block a (sample, group), one warp a channel: pulls[n, g] = (rstd²·Σ w·B/M, rstd·Σ w·A/M), gradients[n, {dgamma,
// dbeta}, C].
KERNEL(kGroupThreads, 4)
pulls_kernel(Plan plan, Coefficients of, const double* partial, float* pulls, double* gradients, float* dscale_shift) {
  DYN_SMEM(double, shared);
  const int width = plan.c / plan.groups, lane = threadIdx.x % 32;
  const double size = static_cast<double>(plan.pixels) * width;
  for (int64_t group = blockIdx.x; group < plan.samples * plan.groups; group += gridDim.x) {
    const int64_t n = group / plan.groups;
    const double rstd = of.stats[2 * group + 1];
    double mean = 0, correlation = 0;  // of w·dz and of w·dz·x̂
    for (int i = threadIdx.x / 32; i < width; i += kGroupThreads / 32) {
      const int64_t k = group % plan.groups * width + i;
      double a = 0, b = 0;
      for (int64_t chunk = lane; chunk < plan.chunks; chunk += 32) {
        const double* at = partial + (n * plan.chunks + chunk) * 2 * plan.c + k;
        a += at[0];
        b += at[plan.c];
      }
      for (int distance = 16; distance > 0; distance /= 2) {
        a += __shfl_xor_sync(0xFFFFFFFFu, a, distance);
        b += __shfl_xor_sync(0xFFFFFFFFu, b, distance);
      }
      b *= rstd;
      if (lane != 0) continue;
      const double gamma = of.gamma[k];
      const double factor = of.scale_shift ? 1.0 + static_cast<double>(of.scale_shift[n * 2 * plan.c + k]) : 1.0;
      mean += gamma * factor * a;
      correlation += gamma * factor * b;
      gradients[n * 2 * plan.c + k] = factor * b;
      gradients[n * 2 * plan.c + plan.c + k] = factor * a;
      if (!of.scale_shift) continue;
      dscale_shift[n * 2 * plan.c + k] = static_cast<float>(gamma * b + static_cast<double>(of.beta[k]) * a);
      dscale_shift[n * 2 * plan.c + plan.c + k] = static_cast<float>(a);
    }
    mean = block_sum<kGroupThreads>(mean, shared);
    correlation = block_sum<kGroupThreads>(correlation, shared);
    if (threadIdx.x == 0) {
      pulls[2 * group] = static_cast<float>(rstd * rstd * correlation / size);
      pulls[2 * group + 1] = static_cast<float>(rstd * mean / size);
    }
  }
}

// dx = dz·slope − (x − mean)·pull − lift
template <bool dropout, class T>
KERNEL(kThreads, 2)
finish_kernel(Plan plan, Coefficients of, const float* pulls, Channels<T> dy, Channels<T> x, Channels<T> dx) {
  constexpr int n = kPack<T>;
  const int width = plan.c / plan.groups;
  const Generator g = dropout ? resolve(of.rng) : Generator{};
  for (int64_t item = blockIdx.x; item < plan.items; item += gridDim.x) {
    const Place<n> place(plan, item);
    if (!place.active) continue;
    const Affine<n> map(plan, of, place.n, place.c);
    Values<T> pull{}, lift{};
    for (int i = 0; i < n; ++i) {
      if (place.c + i >= plan.c) break;
      const float* of_group = pulls + (place.n * plan.groups + (place.c + i) / width) * 2;
      pull.at[i] = of_group[0];
      lift.at[i] = of_group[1];
    }
    for (int64_t at = place.first + place.row; at < place.last; at += plan.rows) {
      const Values<T> value = x.load(at, place.c);
      Values<T> gradient = gradient_at<dropout>(plan, of, g, dy, map, place, at, value);
      for (int i = 0; i < n; ++i)
        gradient.at[i] =
            fmaf(gradient.at[i], map.slope.at[i], -fmaf(value.at[i] - map.centre.at[i], pull.at[i], lift.at[i]));
      dx.store(at, place.c, gradient);
    }
  }
}

// A column of eight threads a value of [dgamma, dbeta], each adding every eighth sample.
KERNEL(kThreads, 2)
parameters_kernel(int64_t samples, int c, const double* gradients, bool accumulate, float* dgamma, float* dbeta) {
  DYN_SMEM(double, shared);  // [8, 32]
  const int column = threadIdx.x % 32, row = threadIdx.x / 32;
  for (int64_t first = int64_t{blockIdx.x} * 32; first < 2 * int64_t{c}; first += int64_t{gridDim.x} * 32) {
    const int64_t k = first + column;
    double sum = 0;
    if (k < 2 * int64_t{c})
      for (int64_t n = row; n < samples; n += kThreads / 32) sum += gradients[n * 2 * c + k];
    shared[threadIdx.x] = sum;
    __syncthreads();
    if (row == 0 && k < 2 * int64_t{c}) {
      float* to = k < c ? dgamma + k : dbeta + (k - c);
      double total = accumulate ? static_cast<double>(*to) : 0.0;
      for (int i = 0; i < kThreads / 32; ++i) total += shared[i * 32 + column];
      *to = static_cast<float>(total);
    }
    __syncthreads();  // before the next columns are written
  }
}

template <bool dropout, class T>
void differentiate(Stream& stream, const GroupNormBackward& op) {
  const Plan plan(op.x, op.x2, op.groups, kPack<T>);
  const Channels<T> dy(op.dy), x(op.x, op.x2), dx(op.dx, op.dx2);
  const Coefficients of(op, nullptr);
  auto* partial = static_cast<double*>(stream.scratch(kPartial, plan.partials() * sizeof(double)));
  float* pulls = stream.scratch_floats(kPulls, plan.samples * plan.groups * 2);
  auto* gradients = static_cast<double*>(stream.scratch(kGradients, plan.samples * 2 * plan.c * sizeof(double)));
  const unsigned grid = grid_of(plan.items);
  LAUNCH((differentiate_kernel<dropout, T>), grid, kThreads, plan.shared_bytes(), stream.handle, plan, of, dy, x,
         partial);
  LAUNCH(pulls_kernel, grid_of(plan.samples * plan.groups), kGroupThreads, kGroupThreads / 32 * sizeof(double),
         stream.handle, plan, of, partial, pulls, gradients, op.dscale_shift.f32());
  LAUNCH((finish_kernel<dropout, T>), grid, kThreads, 0, stream.handle, plan, of, pulls, dy, x, dx);
  LAUNCH(parameters_kernel, grid_of((2 * int64_t{plan.c} + 31) / 32), kThreads, kThreads * sizeof(double),
         stream.handle, plan.samples, plan.c, gradients, op.accumulate, op.dgamma.f32(), op.dbeta.f32());
  check_launch("groupNormBackward");
}

}  // namespace

void group_norm_backward(Stream& stream, const GroupNormBackward& op) {
  with_float(op.x.dtype, [&](auto t) {
    if (op.dropout > 0.0f)
      differentiate<true, decltype(t)>(stream, op);
    else
      differentiate<false, decltype(t)>(stream, op);
  });
}

}  // namespace diffusion::cuda
