// Timesteps drawn by importance (Nichol & Dhariwal 2021, section 3.3): as often as their loss is large.
#pragma once

#include <cmath>

#include "core/ops/process.h"

namespace diffusion {

// t[n] drawn with probability p_t, weights[n] = 1 / (T·p_t), so that the mean of weights·losses is that of the losses
// over all steps.
//   while some counts[t] < K:  p = 1/T, and t is what RandomIntegers draws in [0, T)
//   then  p_t = (1 − u)·s_t / Σ s + u / T,  s_t = the root of the mean of the squares of history[t]
//   history [T, K] f32: the last K losses of every step     counts [T] i32     t [N] i32     weights [N] f32
// Sums are in float64 over blocks of 64 steps, then over the blocks.
struct ImportanceTimesteps {
  static constexpr const char* name = "importanceTimesteps";
  In history, counts;
  Out t, weights;
  float uniform;  // u
  Rng rng;
  static constexpr auto fields =
      std::tuple{&ImportanceTimesteps::history, &ImportanceTimesteps::counts,  &ImportanceTimesteps::t,
                 &ImportanceTimesteps::weights, &ImportanceTimesteps::uniform, &ImportanceTimesteps::rng};
  void check() const {
    require_f32<ImportanceTimesteps>(history, weights);
    require_dtype<ImportanceTimesteps>(counts, DType::i32, "counts");
    require_dtype<ImportanceTimesteps>(t, DType::i32, "t");
    require_dtype<ImportanceTimesteps>(rng.state, DType::i32, "seed");
    require<ImportanceTimesteps>(
        history.rank == 2 && history.size() >= 1 && history.shape[0] <= INT32_MAX && counts.size() == history.shape[0],
        "history must be [T, K] and counts [T]");
    require<ImportanceTimesteps>(t.size() == weights.size(), "t and weights differ in size");
    require<ImportanceTimesteps>(uniform >= 0.0f && uniform <= 1.0f, "uniform is out of range");
  }
};

// The loss of every sample enters the history of its step, in the order of the samples; from K on the oldest one
// leaves. A loss that is not a finite number is left out.     t [N] i32, losses [N] f32
struct RecordLosses {
  static constexpr const char* name = "recordLosses";
  In t, losses;
  State history, counts;
  static constexpr auto fields =
      std::tuple{&RecordLosses::t, &RecordLosses::losses, &RecordLosses::history, &RecordLosses::counts};
  int64_t untouched() const { return 2 * (untouched_rows(history, t.size()) + untouched_rows(counts, t.size())); }
  void check() const {
    require_f32<RecordLosses>(losses, history);
    require_dtype<RecordLosses>(t, DType::i32, "t");
    require_dtype<RecordLosses>(counts, DType::i32, "counts");
    require<RecordLosses>(history.rank == 2 && history.size() >= 1 && counts.size() == history.shape[0],
                          "history must be [T, K] and counts [T]");
    require<RecordLosses>(t.size() == losses.size(), "t and losses differ in size");
  }
};

inline constexpr int64_t kImportanceBlock = 64;

// s_t of a step whose K losses these are.
DIFFUSION_HD double importance_of(const float* losses, int64_t k) {
  double sum = 0.0;
  for (int64_t i = 0; i < k; ++i) sum += static_cast<double>(losses[i]) * static_cast<double>(losses[i]);
  return sqrt(sum / static_cast<double>(k));
}

// p_t by which a draw is made: of a step whose importance is `own` when all have `total` together.
DIFFUSION_HD double importance_probability(double own, double total, double uniform, int64_t steps) {
  if (!(total > 0.0)) return 1.0 / static_cast<double>(steps);  // every loss has been 0
  return (1.0 - uniform) * own / total + uniform / static_cast<double>(steps);
}

// The step that a word draws, by the probabilities [T] and their sums over blocks.
DIFFUSION_HD int64_t importance_step(uint32_t word, const double* probabilities, const double* blocks, int64_t steps) {
  double place = (static_cast<double>(word) + 0.5) * 0x1p-32;
  int64_t t = 0;
  for (int64_t block = 0; t + kImportanceBlock < steps && place >= blocks[block]; ++block, t += kImportanceBlock)
    place -= blocks[block];
  while (t + 1 < steps && place >= probabilities[t]) place -= probabilities[t++];
  return t;
}

// A loss into the history of its step. A count below 0 is none.
DIFFUSION_HD void record_loss(float loss, float* losses, int32_t& count, int64_t k) {
  if (!(fabsf(loss) <= 3.402823466e38f)) return;
  if (count < k) {
    const int32_t place = count > 0 ? count : 0;
    losses[place] = loss;
    count = place + 1;
    return;
  }
  for (int64_t i = 1; i < k; ++i) losses[i - 1] = losses[i];
  losses[k - 1] = loss;
}

}  // namespace diffusion
