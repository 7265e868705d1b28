// Timesteps drawn by importance (core/ops/timesteps.h): one block, whose threads share steps, blocks of steps and
// samples; the history is updated by a thread for every step, which looks through all samples in their order.
//   A t outside the history is reported, and its loss is left out.
#include "core/ops/timesteps.h"
#include "cuda/ops.h"
#include "cuda/process_rows.cuh"

namespace diffusion::cuda {
namespace {

constexpr int kThreads = 512;

// sums[b] = Σ of block b of p
DEVICE void sum_blocks_of(const double* p, int64_t steps, int64_t blocks, double* sums) {
  for (int64_t b = threadIdx.x; b < blocks; b += kThreads) {
    double sum = 0.0;
    for (int64_t t = b * kImportanceBlock; t < steps && t < (b + 1) * kImportanceBlock; ++t) sum += p[t];
    sums[b] = sum;
  }
}

KERNEL(kThreads)
importance_kernel(const float* history, const int32_t* counts, int64_t steps, int64_t k, double uniform, Rng rng,
                  int64_t samples, double* p, double* sums, int32_t* t, float* weights) {
  DYN_SMEM(unsigned, ready);
  const int64_t blocks = (steps + kImportanceBlock - 1) / kImportanceBlock;
  if (threadIdx.x == 0) *ready = 1;
  __syncthreads();  // before anybody takes it back
  bool full = true;
  for (int64_t i = threadIdx.x; i < steps; i += kThreads) {
    full = full && counts[i] >= k;
    p[i] = importance_of(history + i * k, k);
  }
  if (!full) atomicExch(ready, 0u);
  __syncthreads();  // every step has its importance
  sum_blocks_of(p, steps, blocks, sums);
  __syncthreads();  // and every block its sum
  double total = 0.0;
  for (int64_t b = 0; b < blocks; ++b) total += sums[b];
  for (int64_t i = threadIdx.x; i < steps; i += kThreads) p[i] = importance_probability(p[i], total, uniform, steps);
  __syncthreads();  // the sums have been read, the probabilities are there
  sum_blocks_of(p, steps, blocks, sums);
  __syncthreads();  // their sums, too
  const bool drawn = *ready != 0;
  const Generator generator = resolve(rng);
  for (int64_t n = threadIdx.x; n < samples; n += kThreads) {
    const uint32_t word = generator.words(static_cast<uint32_t>(n), 0).w0;
    const int64_t step = drawn ? importance_step(word, p, sums, steps) : below(word, static_cast<uint32_t>(steps));
    t[n] = static_cast<int32_t>(step);
    weights[n] = drawn ? static_cast<float>(1.0 / (static_cast<double>(steps) * p[step])) : 1.0f;
  }
}

struct Record {
  const int32_t* t;
  const float* losses;
  float* history;
  int32_t* counts;
  int64_t samples, steps, k;
  StatusFlag* status;

  DEVICE void operator()(int64_t, int64_t first, int count) const {
    for (int64_t step = first; step < first + count; ++step)
      for (int64_t n = 0; n < samples; ++n) {
        const int32_t of = t[n];
        if (step == 0 && (of < 0 || of >= steps)) report_index(status, kTimestep, of, steps);
        if (of == step) record_loss(losses[n], history + step * k, counts[step], k);
      }
  }
};

}  // namespace

void importance_timesteps(Stream& stream, const ImportanceTimesteps& op) {
  const int64_t steps = op.history.shape[0], blocks = (steps + kImportanceBlock - 1) / kImportanceBlock;
  auto* p = static_cast<double*>(stream.scratch(0, (steps + blocks) * sizeof(double)));
  LAUNCH(importance_kernel, dim3(1), dim3(kThreads), sizeof(unsigned), stream.handle, op.history.f32(), op.counts.i32(),
         steps, op.history.shape[1], static_cast<double>(op.uniform), op.rng, op.t.size(), p, p + steps, op.t.i32(),
         op.weights.f32());
  check_launch(ImportanceTimesteps::name);
}

void record_losses(Stream& stream, const RecordLosses& op) {
  const int64_t steps = op.history.shape[0];
  for_runs<1>(stream, RecordLosses::name, 1, steps,
              Record{op.t.i32(), op.losses.f32(), op.history.f32(), op.counts.i32(), op.t.size(), steps,
                     op.history.shape[1], status(stream)});
}

}  // namespace diffusion::cuda
