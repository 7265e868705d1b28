// Maps of one or two tensors, element by element (core/ops/elementwise.h). Each is one pass; an output may be an input.
#include "core/ops/elementwise.h"

#include "cpu/elementwise.h"
#include "cpu/math.h"
#include "cpu/ops.h"
#include "cpu/parallel.h"
#include "cpu/random_bulk.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

template <class T>
void drop(const Stream& stream, const Dropout& op) {
  const Generator g = resolve(op.rng);
  const int64_t sample_size = op.x.size() == 0 ? 0 : op.x.per_sample();
  const int64_t chunks = (sample_size + kRandomChunk - 1) / kRandomChunk;
  const float p = op.p, keep = 1.0f / (1.0f - op.p);
  parallel_for(stream, op.x.shape[0] * chunks, grain_of(4 * std::min(sample_size, kRandomChunk)),
               [=, &op](int64_t begin, int64_t end) {
                 alignas(64) uint32_t buffer[kRandomChunk + kRandomPadding];
                 for (int64_t item = begin; item < end; ++item) {
                   const int64_t n = item / chunks, first = item % chunks * kRandomChunk;
                   const int64_t count = std::min(kRandomChunk, sample_size - first);
                   const uint32_t* words = random_words(g, static_cast<uint32_t>(n), first, count, buffer);
                   const T* x = op.x.as<T>() + n * sample_size + first;
                   T* y = op.y.as<T>() + n * sample_size + first;
#pragma omp simd
                   for (int64_t i = 0; i < count; ++i)
                     y[i] = convert<T>(uniform(words[i]) < p ? 0.0f : widen(x[i]) * keep);
                 }
               });
}

}  // namespace

void silu(Stream& stream, const Silu& op) {
  map(stream, op.x, op.y, [](float x) { return silu_f32(x); });
}

void silu_backward(Stream& stream, const SiluBackward& op) {
  map(stream, op.dy, op.x, op.dx, [](float dy, float x) { return dy * silu_slope(x); });
}

void add(Stream& stream, const Add& op) {
  map(stream, op.a, op.b, op.y, [](float a, float b) { return a + b; });
}

void mul(Stream& stream, const Mul& op) {
  map(stream, op.a, op.b, op.y, [](float a, float b) { return a * b; });
}

void scale(Stream& stream, const Scale& op) {
  map(stream, op.x, op.y, [scale = op.scale, offset = op.offset](float x) { return scale * x + offset; });
}

void dropout(Stream& stream, const Dropout& op) {
  if (op.p == 0.0f) {
    map(stream, op.x, op.y, [](float x) { return x; });
    return;
  }
  with_float(op.x.dtype, [&](auto type) { drop<decltype(type)>(stream, op); });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
