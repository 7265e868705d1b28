// Maps of one or two tensors, element by element (core/ops/elementwise.h).
//   a, b, x, y, dy, dx: of one shape, f32 or bf16 with arithmetic in f32
//   a thread for every 16 bytes; each operation is one pass: two accesses an element with one input, three with two
#include "core/ops/elementwise.h"
#include "cuda/dispatch.cuh"
#include "cuda/elementwise.cuh"
#include "cuda/ops.h"
#include "cuda/random.cuh"
#include "cuda/silu.cuh"

namespace diffusion::cuda {
namespace {

template <class T>
struct SiluOf {
  DEVICE float operator()(float x) const { return silu_of<T>(x); }
};

template <class T>
struct SiluGradient {
  DEVICE float operator()(float dy, float x) const { return dy * silu_slope<T>(x); }
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
template <class T>
struct Masked {
  static constexpr int n = kPack<T>;
  const T* x;
  T* y;
  int64_t size;
  float p, keep;
  bool whole;
  Rng rng;

  DEVICE Generator of_row(int64_t) const { return resolve(rng); }
  DEVICE void operator()(const Generator& g, int64_t sample, int64_t first, int count) const {
    const int64_t at = sample * size + first;  // x[sample, first]
    Pack<float, n> pack = load_floats<n>(x + at, count, whole);
    for (int four = 0; four < n; four += 4) {
      const Four<uint32_t> words = draw_words(g, sample, first + four);
      for (int k = 0; k < 4; ++k) pack.at[four + k] = uniform(words.at[k]) < p ? 0.0f : pack.at[four + k] * keep;
    }
    store(y + at, count, whole, pack);
  }
};

}  // namespace

void silu(Stream& stream, const Silu& op) {
  with_float(op.x.dtype, [&](auto t) {
    using T = decltype(t);
    map_floats(stream, Silu::name, op.y.size(), SiluOf<T>{}, op.y.as<T>(), op.x.as<T>());
  });
}

void silu_backward(Stream& stream, const SiluBackward& op) {
  with_float(op.x.dtype, [&](auto t) {
    using T = decltype(t);
    map_floats(stream, SiluBackward::name, op.dx.size(), SiluGradient<T>{}, op.dx.as<T>(), op.dy.as<T>(), op.x.as<T>());
  });
}

void add(Stream& stream, const Add& op) {
  with_float(op.y.dtype, [&](auto t) {
    using T = decltype(t);
    map_floats(stream, Add::name, op.y.size(), Sum{}, op.y.as<T>(), op.a.as<T>(), op.b.as<T>());
  });
}

void mul(Stream& stream, const Mul& op) {
  with_float(op.y.dtype, [&](auto t) {
    using T = decltype(t);
    map_floats(stream, Mul::name, op.y.size(), Product{}, op.y.as<T>(), op.a.as<T>(), op.b.as<T>());
  });
}

void scale(Stream& stream, const Scale& op) {
  with_float(op.x.dtype, [&](auto t) {
    using T = decltype(t);
    map_floats(stream, Scale::name, op.y.size(), Affine{op.scale, op.offset}, op.y.as<T>(), op.x.as<T>());
  });
}

void dropout(Stream& stream, const Dropout& op) {
  with_float(op.x.dtype, [&](auto t) {
    using T = decltype(t);
    const T* x = op.x.as<T>();
    T* y = op.y.as<T>();
    if (op.p == 0.0f) return map_floats(stream, Dropout::name, op.y.size(), Same{}, y, x);
    const int64_t samples = op.x.shape[0], size = sample_size(op.x);
    const bool whole = whole_runs<kPack<T>>(samples, size, x, static_cast<const T*>(y));
    for_runs<kPack<T>>(stream, Dropout::name, samples, size,
                       Masked<T>{x, y, size, op.p, 1.0f / (1.0f - op.p), whole, op.rng});
  });
}

}  // namespace diffusion::cuda
