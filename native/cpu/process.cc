// The diffusion process (core/ops/process.h): each operation one pass, in pieces that stay in the first-level cache.
#include "core/ops/process.h"

#include <cstring>

#include "cpu/ops.h"
#include "cpu/parallel.h"
#include "cpu/random_bulk.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

template <class Op>
void check_rows(const View& t, int64_t steps) {
  for (int64_t n = 0; n < t.size(); ++n)
    if (t.i32()[n] < 0 || t.i32()[n] >= steps)
      fail(code::option, "%s: t = %d is outside the schedule of %lld steps", Op::name, t.i32()[n],
           static_cast<long long>(steps));
}

// f(sample, first element, count) over pieces of the samples of x.
template <class F>
void for_chunks(const Stream& stream, const View& x, int64_t cost, const F& f) {
  const int64_t size = x.size() == 0 ? 0 : x.per_sample();
  const int64_t chunks = (size + kRandomChunk - 1) / kRandomChunk;
  parallel_for(stream, x.shape[0] * chunks, grain_of(cost * std::min(size, kRandomChunk)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t item = begin; item < end; ++item) {
                   const int64_t first = item % chunks * kRandomChunk;
                   f(item / chunks, first, std::min(kRandomChunk, size - first));
                 }
               });
}

inline float normalise(float x) { return x; }
inline float normalise(uint8_t x) { return static_cast<float>(x) / 127.5f - 1.0f; }

template <class T>
void load(const T* x, int64_t count, float* y) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) y[i] = normalise(x[i]);
}

// y = the elements [first, first + count) of the image x [H, W, C] mirrored left-right.
template <class T>
void load_mirrored(const T* x, int64_t w, int64_t c, int64_t first, int64_t count, float* y) {
  int64_t pixel = first / c, channel = first % c;
  for (int64_t i = 0; i < count; ++pixel, channel = 0) {
    const int64_t column = pixel % w;
    const T* source = x + (pixel - column + (w - 1 - column)) * c;
    for (; channel < c && i < count; ++channel, ++i) y[i] = normalise(source[channel]);
  }
}

template <class T>
void noising_from(Stream& stream, const Noising& op) {
  const Generator g = resolve(op.rng);
  Generator mirror = g;
  mirror.stream += 1;
  const int64_t size = op.x0.size() == 0 ? 0 : op.x0.per_sample();
  for_chunks(stream, op.x0, 8, [&](int64_t n, int64_t first, int64_t count) {
    alignas(64) float x0[kRandomChunk], buffer[kRandomChunk + kRandomPadding];
    const auto sample = static_cast<uint32_t>(n);
    const T* image = op.x0.as<T>() + n * size;
    if (op.flip && (mirror.words(sample, 0).w0 & 1u) != 0)
      load_mirrored(image, op.x0.shape[2], op.x0.shape[3], first, count, x0);
    else
      load(image + first, count, x0);

    const int64_t at = n * size + first;
    const float* noise = op.noise ? op.noise.f32() + at : random_normals(g, sample, first, count, buffer);
    const float* row = op.table.f32() + 2 * op.t.i32()[n];
    const float a = row[0], b = row[1];
    float* xt = op.xt.f32() + at;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) xt[i] = a * x0[i] + b * noise[i];
    if (op.noise_out) std::memcpy(op.noise_out.f32() + at, noise, count * sizeof(float));
    if (!op.target) return;
    float* target = op.target.f32() + at;
    if (op.target_kind == Target::epsilon)
      std::memcpy(target, noise, count * sizeof(float));
    else if (op.target_kind == Target::sample)
      std::memcpy(target, x0, count * sizeof(float));
    else
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) target[i] = a * noise[i] - b * x0[i];
  });
}

}  // namespace

void noising(Stream& stream, const Noising& op) {
  check_rows<Noising>(op.t, op.table.shape[0]);
  if (op.x0.dtype == DType::u8)
    noising_from<uint8_t>(stream, op);
  else
    noising_from<float>(stream, op);
}

void blend(Stream& stream, const Blend& op) {
  check_rows<Blend>(op.t, op.table.shape[0]);
  const int64_t size = op.x.size() == 0 ? 0 : op.x.per_sample();
  for_chunks(stream, op.x, 1, [&](int64_t n, int64_t first, int64_t count) {
    const float* row = op.table.f32() + 2 * op.t.i32()[n];
    const float a = row[0], b = row[1];
    const float* x = op.x.f32() + n * size + first;
    float* y = op.y.f32() + n * size + first;
    if (!op.z) {
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) y[i] = a * x[i];
      return;
    }
    const float* z = op.z.f32() + n * size + first;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) y[i] = a * x[i] + b * z[i];
  });
}

void gather(Stream&, const Gather& op) {
  check_rows<Gather>(op.t, op.table.shape[0]);
  for (int64_t n = 0; n < op.t.size(); ++n) op.y.i32()[n] = op.table.i32()[op.t.i32()[n]];
}

// A term whose coefficient is 0 is not read: there is no x0 of earlier steps at the first step.
void reverse_step(Stream& stream, const ReverseStep& op) {
  check_rows<ReverseStep>(op.t, op.table.shape[0]);
  const Generator g = resolve(op.rng);
  const int64_t size = op.x.size() == 0 ? 0 : op.x.per_sample();
  for_chunks(stream, op.x, 8, [&](int64_t n, int64_t first, int64_t count) {
    alignas(64) float x0[kRandomChunk], sum[kRandomChunk], buffer[kRandomChunk + kRandomPadding];
    const float* row = op.table.f32() + ReverseStep::kColumns * op.t.i32()[n];
    const float px = row[0], pm = row[1], ex = row[2], e0 = row[3];
    const float a = row[4], b = row[5], c = row[6], e = row[7], f = row[8], d = row[9];
    const int64_t at = n * size + first;
    const float *x = op.x.f32() + at, *output = op.output.f32() + at;

    for (int64_t i = 0; i < count; ++i) x0[i] = px * x[i] + pm * output[i];
    if (op.clip > 0.0f) {
      const float high = op.clip, low = -op.clip;
      for (int64_t i = 0; i < count; ++i) x0[i] = x0[i] > high ? high : x0[i] < low ? low : x0[i];
    }
    for (int64_t i = 0; i < count; ++i) sum[i] = a * x[i] + b * x0[i];
    const auto accumulate = [&](float coefficient, const float* term) {
      for (int64_t i = 0; i < count; ++i) sum[i] += coefficient * term[i];
    };
    if (op.x0_1 && c != 0.0f) accumulate(c, op.x0_1.f32() + at);
    if (op.x0_2 && e != 0.0f) accumulate(e, op.x0_2.f32() + at);
    if (f != 0.0f)
      for (int64_t i = 0; i < count; ++i) sum[i] += f * (ex * x[i] + e0 * x0[i]);
    if (d != 0.0f)
      accumulate(d, op.noise ? op.noise.f32() + at : random_normals(g, static_cast<uint32_t>(n), first, count, buffer));
    std::memcpy(op.sample.f32() + at, sum, count * sizeof(float));
    if (op.pred_x0) std::memcpy(op.pred_x0.f32() + at, x0, count * sizeof(float));
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
