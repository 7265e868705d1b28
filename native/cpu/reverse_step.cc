// One reverse step (core/ops/reverse_step.h): one pass, in pieces that stay in the first-level cache.
#include "core/ops/reverse_step.h"

#include <cstring>

#include "cpu/math.h"
#include "cpu/ops.h"
#include "cpu/process_rows.h"

namespace diffusion::cpu::DIFFUSION_ISA {

// A term whose coefficient is 0 is not read: there is no x0 of earlier steps at the first step.
void reverse_step(Stream& stream, const ReverseStep& op) {
  check_rows<ReverseStep>(op.t, op.table.shape[0]);
  const Generator generator = resolve(op.rng);
  const ModelOutput outputs(op.output, op.x), unconditional(op.unconditional, op.x);
  const int64_t size = op.x.size() == 0 ? 0 : op.x.per_sample();
  for_chunks(stream, op.x, 8, [&](int64_t n, int64_t first, int64_t count) {
    alignas(64) float x0[kRandomChunk], sum[kRandomChunk], half[kRandomChunk], buffer[kRandomChunk + kRandomPadding];
    const float* row = op.table.f32() + ReverseStep::kColumns * op.t.i32()[n];
    const float px = row[0], pm = row[1], ex = row[2], e0 = row[3];
    const float a = row[4], b = row[5], c = row[6], e = row[7], f = row[8], g = row[9], d = row[10];
    const int64_t at = n * size + first;
    const float *x = op.x.f32() + at, *output = outputs.mean(n, first, count, half);
    if (op.unconditional) {
      const float* u = unconditional.mean(n, first, count, sum);
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) half[i] = u[i] + op.guidance * (output[i] - u[i]);
      output = half;
    }

    for (int64_t i = 0; i < count; ++i) x0[i] = px * x[i] + pm * output[i];
    const float high = op.bound ? op.bound.f32()[n] : op.clip, low = -high;
    if (op.bound || high > 0.0f)
      for (int64_t i = 0; i < count; ++i) x0[i] = x0[i] > high ? high : x0[i] < low ? low : x0[i];
    if (op.bound)
      for (int64_t i = 0; i < count; ++i) x0[i] /= high;

    for (int64_t i = 0; i < count; ++i) sum[i] = a * x[i] + b * x0[i];
    const auto accumulate = [&](float coefficient, const float* term) {
      for (int64_t i = 0; i < count; ++i) sum[i] += coefficient * term[i];
    };
    if (op.x0_1 && c != 0.0f) accumulate(c, op.x0_1.f32() + at);
    if (op.x0_2 && e != 0.0f) accumulate(e, op.x0_2.f32() + at);
    if (f != 0.0f)
      for (int64_t i = 0; i < count; ++i) sum[i] += f * (ex * x[i] + e0 * x0[i]);
    if (g != 0.0f) accumulate(g, output);
    if (d != 0.0f) {
      const auto sample = static_cast<uint32_t>(n);
      const float* z = op.noise ? op.noise.f32() + at : random_normals(generator, sample, first, count, buffer);
      if (op.variance == Variance::fixed) {
        accumulate(d, z);
      } else {
        const float* v = outputs.variance(n, first, count, half);
        const LogVariance log_variance(op.variance, row[11], row[12]);
#pragma omp simd
        for (int64_t i = 0; i < count; ++i) sum[i] += d * exp_f32(0.5f * log_variance(v[i])) * z[i];
      }
    }
    std::memcpy(op.sample.f32() + at, sum, count * sizeof(float));
    if (op.pred_x0) std::memcpy(op.pred_x0.f32() + at, x0, count * sizeof(float));
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
