// The diffusion process (core/ops/process.h): each operation one pass, in pieces that stay in the first-level cache.
#include "core/ops/process.h"

#include <cstring>

#include "cpu/ops.h"
#include "cpu/process_rows.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

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
    if (op.x0_out) std::memcpy(op.x0_out.f32() + at, x0, count * sizeof(float));
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

}  // namespace diffusion::cpu::DIFFUSION_ISA
