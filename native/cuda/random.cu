// Random tensors (core/ops/random.h): a thread for every counter, that is four elements of a sample.
//   y [N, …] f32 or i32; 4 bytes written an element, the rest is arithmetic of the counter
#include <cmath>

#include "core/ops/random.h"
#include "cuda/ops.h"
#include "cuda/random.cuh"

namespace diffusion::cuda {
namespace {

struct Normal {
  using Element = float;
  DEVICE Four<float> operator()(const Generator& g, int64_t n, int64_t first) const {
    return draw_normals(g, n, first);
  }
};

struct Uniform {
  using Element = float;
  float low, range, high, last;  // `last` is the largest value below `high`, which rounding must not reach

  DEVICE Four<float> operator()(const Generator& g, int64_t n, int64_t first) const {
    const Four<uint32_t> words = draw_words(g, n, first);
    Four<float> y;
    for (int k = 0; k < 4; ++k) {
      const float value = low + range * uniform(words.at[k]);
      y.at[k] = value < high ? value : last;
    }
    return y;
  }
};

// As unsigned words, whose additions wrap: high − low may exceed 2^31.
struct Integer {
  using Element = uint32_t;
  uint32_t low, range;

  DEVICE Four<uint32_t> operator()(const Generator& g, int64_t n, int64_t first) const {
    Four<uint32_t> y = draw_words(g, n, first);
    for (int k = 0; k < 4; ++k) y.at[k] = low + below(y.at[k], range);
    return y;
  }
};

template <class Distribution>
struct Draw {
  Distribution distribution;
  typename Distribution::Element* y;
  int64_t size;
  bool whole;
  Rng rng;

  DEVICE Generator of_row(int64_t) const { return resolve(rng); }
  DEVICE void operator()(const Generator& g, int64_t n, int64_t first, int count) const {
    store(y + n * size + first, count, whole, distribution(g, n, first));
  }
};

template <class Op, class Distribution>
void draw(Stream& stream, const Op& op, const Distribution& distribution) {
  auto* y = op.y.template as<typename Distribution::Element>();
  const int64_t samples = op.y.shape[0], size = sample_size(op.y);
  for_runs(stream, Op::name, samples, size,
           Draw<Distribution>{distribution, y, size, whole_runs(samples, size, y), op.rng});
}

KERNEL(1) advance_seed_kernel(uint32_t* state) { state[2] += 1; }

}  // namespace

void random_normal(Stream& stream, const RandomNormal& op) { draw(stream, op, Normal{}); }

void random_uniform(Stream& stream, const RandomUniform& op) {
  draw(stream, op, Uniform{op.low, op.high - op.low, op.high, nextafterf(op.high, op.low)});
}

void random_integers(Stream& stream, const RandomIntegers& op) {
  const auto low = static_cast<uint32_t>(op.low);
  draw(stream, op, Integer{low, static_cast<uint32_t>(op.high) - low});
}

void advance_seed(Stream& stream, const AdvanceSeed& op) {
  LAUNCH(advance_seed_kernel, dim3(1), dim3(1), 0, stream.handle, op.state.as<uint32_t>());
  check_launch(AdvanceSeed::name);
}

}  // namespace diffusion::cuda
