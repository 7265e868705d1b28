// Random tensors (core/ops/random.h).
#include "core/ops/random.h"

#include <cmath>

#include "cpu/ops.h"
#include "cpu/parallel.h"
#include "cpu/random_bulk.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

// f(sample, first element, count, place in y) over pieces of the samples.
template <class F>
void for_chunks(const Stream& stream, const View& y, const F& f) {
  const int64_t size = y.size() == 0 ? 0 : y.per_sample();
  const int64_t chunks = (size + kRandomChunk - 1) / kRandomChunk;
  parallel_for(stream, y.shape[0] * chunks, grain_of(8 * std::min(size, kRandomChunk)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t item = begin; item < end; ++item) {
                   const int64_t n = item / chunks, first = item % chunks * kRandomChunk;
                   f(static_cast<uint32_t>(n), first, std::min(kRandomChunk, size - first), n * size + first);
                 }
               });
}

}  // namespace

void random_normal(Stream& stream, const RandomNormal& op) {
  const Generator g = resolve(op.rng);
  for_chunks(stream, op.y, [&](uint32_t sample, int64_t first, int64_t count, int64_t at) {
    alignas(64) float buffer[kRandomChunk + kRandomPadding];
    const float* z = random_normals(g, sample, first, count, buffer);
    std::copy(z, z + count, op.y.f32() + at);
  });
}

void random_uniform(Stream& stream, const RandomUniform& op) {
  const Generator g = resolve(op.rng);
  const float low = op.low, high = op.high, range = op.high - op.low;
  const float last = nextafterf(high, low);  // rounding must not reach `high`
  for_chunks(stream, op.y, [=, &op](uint32_t sample, int64_t first, int64_t count, int64_t at) {
    alignas(64) uint32_t buffer[kRandomChunk + kRandomPadding];
    const uint32_t* words = random_words(g, sample, first, count, buffer);
    float* y = op.y.f32() + at;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const float value = low + range * uniform(words[i]);
      y[i] = value < high ? value : last;
    }
  });
}

void random_integers(Stream& stream, const RandomIntegers& op) {
  const Generator g = resolve(op.rng);
  const uint32_t low = static_cast<uint32_t>(op.low), range = static_cast<uint32_t>(op.high) - low;
  for_chunks(stream, op.y, [=, &op](uint32_t sample, int64_t first, int64_t count, int64_t at) {
    alignas(64) uint32_t buffer[kRandomChunk + kRandomPadding];
    const uint32_t* words = random_words(g, sample, first, count, buffer);
    auto* y = op.y.as<uint32_t>() + at;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) y[i] = low + below(words[i], range);
  });
}

void advance_seed(Stream&, const AdvanceSeed& op) { op.state.as<uint32_t>()[2] += 1; }

}  // namespace diffusion::cpu::DIFFUSION_ISA
