// What the operations of the diffusion process share: a row of a table for each sample, pieces of samples, and the
// halves of a model's channels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/error.h"
#include "core/ops/process.h"
#include "cpu/parallel.h"
#include "cpu/random_bulk.h"

namespace diffusion::cpu::DIFFUSION_ISA {

template <class Op>
void check_rows(const View& t, int64_t steps) {
  for (int64_t n = 0; n < t.size(); ++n)
    if (t.i32()[n] < 0 || t.i32()[n] >= steps)
      fail(code::option, "%s: t = %d is outside the schedule of %lld steps", Op::name, t.i32()[n],
           static_cast<long long>(steps));
}

// f(sample, first element, count) over pieces of the samples of x that stay in the first-level cache.
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

// The output of a model that was given x: its mean channels in the shape of x, and where there are twice as many
// channels, its variance channels likewise.
class ModelOutput {
 public:
  ModelOutput(const View& output, const View& x)
      : data_(output.f32()),
        channels_(x.channels()),
        size_(x.size() == 0 ? 0 : x.per_sample()),
        doubled_(is_doubled(output, x)) {}

  bool doubled() const { return doubled_; }
  // Elements [first, first + count) of sample n, at `buffer` unless they lie in memory as they are.
  const float* mean(int64_t n, int64_t first, int64_t count, float* buffer) const {
    return doubled_ ? gather(n, first, count, 0, buffer) : data_ + n * size_ + first;
  }
  const float* variance(int64_t n, int64_t first, int64_t count, float* buffer) const {
    return gather(n, first, count, channels_, buffer);
  }

 private:
  const float* gather(int64_t n, int64_t first, int64_t count, int64_t offset, float* buffer) const {
    int64_t channel = first % channels_;
    const float* pixel = data_ + 2 * (n * size_ + first - channel) + offset;
    for (int64_t i = 0; i < count; pixel += 2 * channels_, channel = 0) {
      const int64_t run = std::min(channels_ - channel, count - i);
      for (int64_t k = 0; k < run; ++k) buffer[i + k] = pixel[channel + k];
      i += run;
    }
    return buffer;
  }

  const float* data_;
  int64_t channels_, size_;
  bool doubled_;
};

}  // namespace diffusion::cpu::DIFFUSION_ISA
