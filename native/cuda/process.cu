// The diffusion process (core/ops/process.h): each operation one pass, a thread for every four elements of a sample.
//   images [N, …] f32 (x0 of noising also u8)     t [N] i32     table [T, columns] f32, a row a sample
//   noising: 4 + 1…4 bytes an element and 4 for each output more; reverse step: 12, and 4 for each optional operand
//   A t outside the table is reported, and what is computed for its sample is NaN (0 where it holds integers), so that
//   nothing that depends on it passes for a result. Sums are in the order of the formulas, in f32.
#include "core/ops/process.h"
#include "cuda/elementwise.cuh"
#include "cuda/mirror.cuh"
#include "cuda/ops.h"
#include "cuda/random.cuh"
#include "cuda/runtime/status.h"

namespace diffusion::cuda {
namespace {

constexpr uint32_t kNan = 0x7FC00000u;

// The row of a table that belongs to a sample.
struct Rows {
  const int32_t* t;
  const float* table;
  int64_t steps;
  StatusFlag* status;

  // coefficients[column] of sample n; all NaN, and reported, when t is outside the table.
  template <int columns>
  DEVICE void read(int64_t n, float (&coefficients)[columns]) const {
    const int32_t step = t[n];
    const bool inside = step >= 0 && step < steps;
    if (!inside) report_index(status, kTimestep, step, steps);
    for (int column = 0; column < columns; ++column)
      coefficients[column] = inside ? table[static_cast<int64_t>(step) * columns + column] : bits_to_float(kNan);
  }
};

template <class Op>
Rows rows_of(Stream& stream, const Op& op) {
  return {op.t.i32(), op.table.f32(), op.table.shape[0], status(stream)};
}

// ---------------------------------------------------------------------------------------------------------- noising

DEVICE float normalise(float x) { return x; }

// x/127.5 − 1, the quotient rounded once: a product with the reciprocal, and its error.
DEVICE float normalise(uint8_t x) {
  constexpr float kReciprocal = 1.0f / 127.5f;
  const auto value = static_cast<float>(x);
  const float quotient = value * kReciprocal;
  return fmaf(fmaf(-127.5f, quotient, value), kReciprocal, quotient) - 1.0f;
}

template <class T>
struct AddNoise {
  const T* x0;
  const float* noise;
  float *xt, *noise_out, *target;
  int64_t size;  // of a sample
  Rows rows;
  Target kind;
  bool whole, flip;
  Mirror mirror;
  Rng rng;

  struct Sample {
    float table[2];
    Generator generator;
    bool mirrored;
  };
  DEVICE Sample of_row(int64_t n) const {
    Sample sample;
    rows.read(n, sample.table);
    sample.generator = resolve(rng);
    Generator coin = sample.generator;
    coin.stream += 1;
    sample.mirrored = flip && (coin.words(static_cast<uint32_t>(n), 0).w0 & 1u) != 0;
    return sample;
  }

  DEVICE void operator()(const Sample& sample, int64_t n, int64_t first, int count) const {
    const float a = sample.table[0], b = sample.table[1];
    const int64_t at = n * size + first;  // xt[n, first]
    const Four<T> raw = sample.mirrored ? mirror.load(x0 + n * size, first, count) : load(x0 + at, count, whole);
    const Four<float> z = noise != nullptr ? load(noise + at, count, whole) : draw_normals(sample.generator, n, first);

    Four<float> x, noised;
    for (int k = 0; k < 4; ++k) {
      x.at[k] = normalise(raw.at[k]);
      noised.at[k] = a * x.at[k] + b * z.at[k];
    }
    store(xt + at, count, whole, noised);
    if (noise_out != nullptr) store(noise_out + at, count, whole, a == a ? z : noised);
    if (target == nullptr) return;
    Four<float> wanted = a != a ? noised : kind == Target::epsilon ? z : x;
    if (kind == Target::v)
      for (int k = 0; k < 4; ++k) wanted.at[k] = a * z.at[k] - b * x.at[k];
    store(target + at, count, whole, wanted);
  }
};

template <class T>
void noising_from(Stream& stream, const Noising& op) {
  const int64_t samples = op.x0.shape[0], size = sample_size(op.x0);
  if (op.flip && size > INT32_MAX) fail(code::shape, "noising: images of more than 2^31 - 1 elements are not mirrored");
  const bool whole =
      whole_runs(samples, size, op.x0.as<T>(), op.noise.f32(), op.xt.f32(), op.noise_out.f32(), op.target.f32());
  const Mirror mirror(op.flip ? op.x0.shape[2] : 1, op.flip ? op.x0.shape[3] : 1, whole);
  for_runs(stream, Noising::name, samples, size,
           AddNoise<T>{op.x0.as<T>(), op.noise.f32(), op.xt.f32(), op.noise_out.f32(), op.target.f32(), size,
                       rows_of(stream, op), op.target_kind, whole, op.flip, mirror, op.rng});
}

// -------------------------------------------------------------------------------------------------- blend and gather

struct Weights {
  float table[2];
};

struct Combine {
  const float *x, *z;
  float* y;
  int64_t size;
  Rows rows;
  bool whole;

  DEVICE Weights of_row(int64_t n) const {
    Weights weights;
    rows.read(n, weights.table);
    return weights;
  }
  DEVICE void operator()(const Weights& weights, int64_t n, int64_t first, int count) const {
    const int64_t at = n * size + first;
    Four<float> sum = load(x + at, count, whole);
    for (int k = 0; k < 4; ++k) sum.at[k] *= weights.table[0];
    if (z != nullptr) {
      const Four<float> more = load(z + at, count, whole);
      for (int k = 0; k < 4; ++k) sum.at[k] += weights.table[1] * more.at[k];
    }
    store(y + at, count, whole, sum);
  }
};

// 32-bit words, whether they are f32 or i32.
struct Pick {
  const uint32_t* table;
  int64_t steps;
  uint32_t outside;
  StatusFlag* status;

  DEVICE uint32_t operator()(int32_t t) const {
    if (t >= 0 && t < steps) return table[t];
    report_index(status, kTimestep, t, steps);
    return outside;
  }
};

// ----------------------------------------------------------------------------------------------------- reverse step

DEVICE void accumulate(Four<float>& sum, float coefficient, const Four<float>& term) {
  for (int k = 0; k < 4; ++k) sum.at[k] += coefficient * term.at[k];
}

// A thread reads all of its elements before it writes any: sample may be x, and pred_x0 may be x0_1 or x0_2. A term
// whose coefficient is 0 is not read: there is no x0 of earlier steps at the first step.
struct Reverse {
  const float *output, *x, *x0_1, *x0_2, *noise;
  float *sample, *pred_x0;
  int64_t size;
  Rows rows;
  float clip;
  bool whole;
  Rng rng;

  struct Sample {
    float table[ReverseStep::kColumns];
    Generator generator;
  };
  DEVICE Sample of_row(int64_t n) const {
    Sample sample;
    rows.read(n, sample.table);
    sample.generator = resolve(rng);
    return sample;
  }

  DEVICE void operator()(const Sample& known, int64_t n, int64_t first, int count) const {
    const float* row = known.table;
    const float px = row[0], pm = row[1], ex = row[2], e0 = row[3];
    const float a = row[4], b = row[5], c = row[6], e = row[7], f = row[8], d = row[9];
    const int64_t at = n * size + first;  // x[n, first]
    const Four<float> xs = load(x + at, count, whole), outputs = load(output + at, count, whole);

    Four<float> x0, sum;
    for (int k = 0; k < 4; ++k) {
      const float predicted = px * xs.at[k] + pm * outputs.at[k];
      x0.at[k] = clip > 0.0f && predicted > clip ? clip : clip > 0.0f && predicted < -clip ? -clip : predicted;
      sum.at[k] = a * xs.at[k] + b * x0.at[k];
    }
    if (x0_1 != nullptr && c != 0.0f) accumulate(sum, c, load(x0_1 + at, count, whole));
    if (x0_2 != nullptr && e != 0.0f) accumulate(sum, e, load(x0_2 + at, count, whole));
    if (f != 0.0f)
      for (int k = 0; k < 4; ++k) sum.at[k] += f * (ex * xs.at[k] + e0 * x0.at[k]);
    if (d != 0.0f)
      accumulate(sum, d, noise != nullptr ? load(noise + at, count, whole) : draw_normals(known.generator, n, first));
    store(sample + at, count, whole, sum);
    if (pred_x0 != nullptr) store(pred_x0 + at, count, whole, x0);
  }
};

}  // namespace

void noising(Stream& stream, const Noising& op) {
  if (op.x0.dtype == DType::u8)
    noising_from<uint8_t>(stream, op);
  else
    noising_from<float>(stream, op);
}

void blend(Stream& stream, const Blend& op) {
  const int64_t samples = op.x.shape[0], size = sample_size(op.x);
  const bool whole = whole_runs(samples, size, op.x.f32(), op.z.f32(), op.y.f32());
  for_runs(stream, Blend::name, samples, size,
           Combine{op.x.f32(), op.z.f32(), op.y.f32(), size, rows_of(stream, op), whole});
}

void gather(Stream& stream, const Gather& op) {
  const uint32_t outside = op.y.dtype == DType::f32 ? kNan : 0;
  map(stream, Gather::name, op.t.size(), Pick{op.table.as<uint32_t>(), op.table.shape[0], outside, status(stream)},
      op.y.as<uint32_t>(), op.t.as<const int32_t>());
}

void reverse_step(Stream& stream, const ReverseStep& op) {
  const int64_t samples = op.x.shape[0], size = sample_size(op.x);
  const bool whole = whole_runs(samples, size, op.output.f32(), op.x.f32(), op.x0_1.f32(), op.x0_2.f32(),
                                op.noise.f32(), op.sample.f32(), op.pred_x0.f32());
  for_runs(stream, ReverseStep::name, samples, size,
           Reverse{op.output.f32(), op.x.f32(), op.x0_1.f32(), op.x0_2.f32(), op.noise.f32(), op.sample.f32(),
                   op.pred_x0.f32(), size, rows_of(stream, op), op.clip, whole, op.rng});
}

}  // namespace diffusion::cuda
