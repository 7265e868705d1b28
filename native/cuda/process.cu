// The diffusion process (core/ops/process.h): each operation one pass, a thread for every four elements of a sample.
//   images [N, …] f32 (x0 of noising also u8)     t [N] i32     table [T, columns] f32, a row a sample
//   noising: 4 + 1…4 bytes an element and 4 for each output more
//   A t outside the table is reported, and what is computed for its sample is NaN (0 where it holds integers), so that
//   nothing that depends on it passes for a result. Sums are in the order of the formulas, in f32.
#include "core/ops/process.h"
#include "cuda/elementwise.cuh"
#include "cuda/mirror.cuh"
#include "cuda/ops.h"
#include "cuda/process_rows.cuh"
#include "cuda/random.cuh"

namespace diffusion::cuda {
namespace {

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
  float *xt, *noise_out, *target, *x0_out;
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
    if (x0_out != nullptr) store(x0_out + at, count, whole, a == a ? x : noised);
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
  const bool whole = whole_runs(samples, size, op.x0.as<T>(), op.noise.f32(), op.xt.f32(), op.noise_out.f32(),
                                op.target.f32(), op.x0_out.f32());
  const Mirror mirror(op.flip ? op.x0.shape[2] : 1, op.flip ? op.x0.shape[3] : 1, whole);
  for_runs(stream, Noising::name, samples, size,
           AddNoise<T>{op.x0.as<T>(), op.noise.f32(), op.xt.f32(), op.noise_out.f32(), op.target.f32(), op.x0_out.f32(),
                       size, rows_of(stream, op), op.target_kind, whole, op.flip, mirror, op.rng});
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

}  // namespace diffusion::cuda
