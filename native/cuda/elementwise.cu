// Maps of one or two tensors, element by element (core/ops/elementwise.h).
//   a, b, x, y, dy, dx: f32 of one shape
//   a thread for every four elements; each operation is one pass: 8 bytes an element with one input, 12 with two
#include "core/ops/elementwise.h"
#include "cuda/elementwise.cuh"
#include "cuda/ops.h"
#include "cuda/random.cuh"
#include "cuda/silu.cuh"

namespace diffusion::cuda {
namespace {

struct SiluOf {
  DEVICE float operator()(float x) const { return silu_f32(x); }
};

struct SiluGradient {
  DEVICE float operator()(float dy, float x) const { return dy * silu_slope(x); }
};

struct Sum {
  DEVICE float operator()(float a, float b) const { return a + b; }
};

struct Product {
  DEVICE float operator()(float a, float b) const { return a * b; }
};

struct Affine {
  float scale, offset;
  DEVICE float operator()(float x) const { return scale * x + offset; }
};

struct Same {
  DEVICE float operator()(float x) const { return x; }
};

// y = x/(1 − p) where uniform(word) >= p, else 0: the mask is drawn again instead of stored.
struct Masked {
  const float* x;
  float* y;
  int64_t size;
  float p, keep;
  bool whole;
  Rng rng;

  DEVICE void operator()(int64_t n, int64_t first, int count) const {
    const Four<uint32_t> words = draw_words(resolve(rng), n, first);
    const int64_t at = n * size + first;  // x[n, first]
    Four<float> four = load(x + at, count, whole);
    for (int k = 0; k < 4; ++k) four.at[k] = uniform(words.at[k]) < p ? 0.0f : four.at[k] * keep;
    store(y + at, count, whole, four);
  }
};

}  // namespace

void silu(Stream& stream, const Silu& op) { map(stream, Silu::name, op.y.size(), SiluOf{}, op.y.f32(), op.x.f32()); }

void silu_backward(Stream& stream, const SiluBackward& op) {
  map(stream, SiluBackward::name, op.dx.size(), SiluGradient{}, op.dx.f32(), op.dy.f32(), op.x.f32());
}

void add(Stream& stream, const Add& op) {
  map(stream, Add::name, op.y.size(), Sum{}, op.y.f32(), op.a.f32(), op.b.f32());
}

void mul(Stream& stream, const Mul& op) {
  map(stream, Mul::name, op.y.size(), Product{}, op.y.f32(), op.a.f32(), op.b.f32());
}

void scale(Stream& stream, const Scale& op) {
  map(stream, Scale::name, op.y.size(), Affine{op.scale, op.offset}, op.y.f32(), op.x.f32());
}

void dropout(Stream& stream, const Dropout& op) {
  if (op.p == 0.0f) return map(stream, Dropout::name, op.y.size(), Same{}, op.y.f32(), op.x.f32());
  const int64_t samples = op.x.shape[0], size = sample_size(op.x);
  const bool whole = whole_runs(samples, size, op.x.f32(), op.y.f32());
  for_runs(stream, Dropout::name, samples, size,
           Masked{op.x.f32(), op.y.f32(), size, op.p, 1.0f / (1.0f - op.p), whole, op.rng});
}

}  // namespace diffusion::cuda
