// Timesteps drawn by importance (core/ops/timesteps.h).
#include "core/ops/timesteps.h"

#include <algorithm>

#include "cpu/ops.h"
#include "cpu/process_rows.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

double sum_of(const double* values, int64_t count) {
  double sum = 0.0;
  for (int64_t i = 0; i < count; ++i) sum += values[i];
  return sum;
}

}  // namespace

void importance_timesteps(Stream& stream, const ImportanceTimesteps& op) {
  const Generator generator = resolve(op.rng);
  const int64_t steps = op.history.shape[0], k = op.history.shape[1], samples = op.t.size();
  const int64_t blocks = (steps + kImportanceBlock - 1) / kImportanceBlock;
  auto* p = static_cast<double*>(stream.scratch.get(0, (steps + blocks) * sizeof(double)));
  double* sums = p + steps;
  const auto sum_blocks_of_p = [&] {
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t first = b * kImportanceBlock;
      sums[b] = sum_of(p + first, std::min(kImportanceBlock, steps - first));
    }
  };
  const bool ready = std::all_of(op.counts.i32(), op.counts.i32() + steps, [&](int32_t count) { return count >= k; });
  if (ready) {
    for (int64_t t = 0; t < steps; ++t) p[t] = importance_of(op.history.f32() + t * k, k);
    sum_blocks_of_p();
    const double total = sum_of(sums, blocks), uniform = op.uniform;
    for (int64_t t = 0; t < steps; ++t) p[t] = importance_probability(p[t], total, uniform, steps);
    sum_blocks_of_p();
  }
  for (int64_t n = 0; n < samples; ++n) {
    const uint32_t word = generator.words(static_cast<uint32_t>(n), 0).w0;
    const int64_t t = ready ? importance_step(word, p, sums, steps) : below(word, static_cast<uint32_t>(steps));
    op.t.i32()[n] = static_cast<int32_t>(t);
    op.weights.f32()[n] = ready ? static_cast<float>(1.0 / (static_cast<double>(steps) * p[t])) : 1.0f;
  }
}

void record_losses(Stream&, const RecordLosses& op) {
  check_rows<RecordLosses>(op.t, op.history.shape[0]);
  const int64_t k = op.history.shape[1];
  for (int64_t n = 0; n < op.t.size(); ++n) {
    const int32_t t = op.t.i32()[n];
    record_loss(op.losses.f32()[n], op.history.f32() + t * k, op.counts.i32()[t], k);
  }
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
