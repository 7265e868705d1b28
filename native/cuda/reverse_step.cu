// One reverse step (core/ops/reverse_step.h): one pass, a thread for every four elements of a sample.
//   12 bytes an element, and 4 for each optional operand or half of a model's channels
//   A t outside the table is reported, and what is computed for its sample is NaN. Sums are in the order of the
//   formulas, in f32.
#include "core/ops/reverse_step.h"
#include "cuda/ops.h"
#include "cuda/process_rows.cuh"
#include "cuda/random.cuh"

namespace diffusion::cuda {
namespace {

DEVICE void accumulate(Four<float>& sum, float coefficient, const Four<float>& term) {
  for (int k = 0; k < 4; ++k) sum.at[k] += coefficient * term.at[k];
}

// A thread reads all of its elements before it writes any: sample may be x, and pred_x0 may be x0_1 or x0_2. A term
// whose coefficient is 0 is not read: there is no x0 of earlier steps at the first step. `plain`: no guidance, no
// bound, and as many channels as x has.
template <bool plain>
struct Reverse {
  ModelOutput output, unconditional;
  const float *x, *x0_1, *x0_2, *bound, *noise;
  float *sample, *pred_x0;
  int64_t size;
  Rows rows;
  float clip, guidance;
  Variance variance;
  bool whole;
  Rng rng;

  struct Sample {
    float table[ReverseStep::kColumns];
    float bound;
    Generator generator;
  };
  DEVICE Sample of_row(int64_t n) const {
    Sample sample;
    rows.read(n, sample.table);
    sample.bound = !plain && bound != nullptr ? bound[n] : clip;
    sample.generator = resolve(rng);
    return sample;
  }

  DEVICE void operator()(const Sample& known, int64_t n, int64_t first, int count) const {
    const float* row = known.table;
    const float px = row[0], pm = row[1], ex = row[2], e0 = row[3];
    const float a = row[4], b = row[5], c = row[6], e = row[7], f = row[8], g = row[9], d = row[10];
    const int64_t at = n * size + first;  // x[n, first]
    const Four<float> xs = load(x + at, count, whole);
    Four<float> outputs = output.mean<plain>(n, size, first, count, whole);
    if (!plain && unconditional) {
      const Four<float> u = unconditional.mean<plain>(n, size, first, count, whole);
      for (int k = 0; k < 4; ++k) outputs.at[k] = u.at[k] + guidance * (outputs.at[k] - u.at[k]);
    }

    const bool divides = !plain && bound != nullptr, clips = divides || clip > 0.0f;
    const float high = known.bound, low = -high;
    Four<float> x0, sum;
    for (int k = 0; k < 4; ++k) {
      const float predicted = px * xs.at[k] + pm * outputs.at[k];
      x0.at[k] = clips && predicted > high ? high : clips && predicted < low ? low : predicted;
      if (divides) x0.at[k] /= high;
      sum.at[k] = a * xs.at[k] + b * x0.at[k];
    }
    if (x0_1 != nullptr && c != 0.0f) accumulate(sum, c, load(x0_1 + at, count, whole));
    if (x0_2 != nullptr && e != 0.0f) accumulate(sum, e, load(x0_2 + at, count, whole));
    if (f != 0.0f)
      for (int k = 0; k < 4; ++k) sum.at[k] += f * (ex * xs.at[k] + e0 * x0.at[k]);
    if (g != 0.0f) accumulate(sum, g, outputs);
    if (d != 0.0f) {
      const Four<float> z = noise != nullptr ? load(noise + at, count, whole) : draw_normals(known.generator, n, first);
      if (plain || variance == Variance::fixed) {
        accumulate(sum, d, z);
      } else {
        const Four<float> v = output.variance(n, size, first, count);
        const LogVariance log_variance(variance, row[11], row[12]);
        for (int k = 0; k < 4; ++k) sum.at[k] += d * expf(0.5f * log_variance(v.at[k])) * z.at[k];
      }
    }
    store(sample + at, count, whole, sum);
    if (pred_x0 != nullptr) store(pred_x0 + at, count, whole, x0);
  }
};

template <bool plain>
void reverse_as(Stream& stream, const ReverseStep& op) {
  const int64_t samples = op.x.shape[0], size = sample_size(op.x);
  const ModelOutput output(ReverseStep::name, op.output, op.x), u(ReverseStep::name, op.unconditional, op.x);
  const bool whole = output.whole_runs_as(samples, size) && u.whole_runs_as(samples, size) &&
                     whole_runs(samples, size, op.x.f32(), op.x0_1.f32(), op.x0_2.f32(), op.noise.f32(),
                                op.sample.f32(), op.pred_x0.f32());
  for_runs(stream, ReverseStep::name, samples, size,
           Reverse<plain>{output, u, op.x.f32(), op.x0_1.f32(), op.x0_2.f32(), op.bound.f32(), op.noise.f32(),
                          op.sample.f32(), op.pred_x0.f32(), size, rows_of(stream, op), op.clip, op.guidance,
                          op.variance, whole, op.rng});
}

}  // namespace

void reverse_step(Stream& stream, const ReverseStep& op) {
  if (op.unconditional || op.bound || op.output.size() != op.x.size())
    reverse_as<false>(stream, op);
  else
    reverse_as<true>(stream, op);
}

}  // namespace diffusion::cuda
