// What the operations of the diffusion process share: a row of a table for each sample, and the halves of a model's
// channels.
#pragma once

#include "core/error.h"
#include "core/ops/process.h"
#include "core/random.h"
#include "cuda/divisor.cuh"
#include "cuda/runs.cuh"
#include "cuda/runtime/status.h"

namespace diffusion::cuda {

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

// The output of a model that was given x: its mean channels in the shape of x, and where there are twice as many
// channels, its variance channels likewise. Where the channels are a multiple of four, a run of four lies within a half
// of a pixel.
class ModelOutput {
 public:
  ModelOutput(const char* operation, const View& output, const View& x)
      : data_(output.f32()), channels_(x.channels()), divisor_(1), doubled_(output && is_doubled(output, x)) {
    if (!doubled_ || x.size() == 0) return;
    if (x.per_sample() > INT32_MAX)
      fail(code::shape, "%s: samples of more than 2^31 - 1 elements have no variance channels", operation);
    divisor_ = Divisor(channels_);
    whole_ = channels_ % 4 == 0 && whole_runs(1, channels_, data_);
  }

  // Whether mean channels that lie as those of x do can be accessed as `whole_runs` says.
  bool whole_runs_as(int64_t samples, int64_t size) const { return doubled_ || whole_runs(samples, size, data_); }

  DEVICE explicit operator bool() const { return data_ != nullptr; }
  DEVICE bool doubled() const { return doubled_; }
  // Elements `first` + k of sample n, `size` of which make one; `whole` is that of x. `plain`: there is one half only.
  template <bool plain = false>
  DEVICE Four<float> mean(int64_t n, int64_t size, int64_t first, int count, bool whole) const {
    if (!plain && doubled_) return half(n, size, first, count, 0);
    return load(data_ + n * size + first, count, whole);
  }
  DEVICE Four<float> variance(int64_t n, int64_t size, int64_t first, int count) const {
    return half(n, size, first, count, channels_);
  }

  // Writes what `mean` and `variance` read.
  DEVICE void store_mean(int64_t n, int64_t size, int64_t first, int count, bool whole, const Four<float>& four) const {
    if (!doubled_) return store(data_ + n * size + first, count, whole, four);
    each(n, size, first, count, 0, four, [](auto& to, auto& value) { to = value; });
  }
  DEVICE void store_variance(int64_t n, int64_t size, int64_t first, int count, const Four<float>& four) const {
    each(n, size, first, count, channels_, four, [](auto& to, auto& value) { to = value; });
  }

 private:
  DEVICE Four<float> half(int64_t n, int64_t size, int64_t first, int count, int64_t offset) const {
    return each(n, size, first, count, offset, Four<float>{}, [](auto& from, auto& value) { value = from; });
  }

  // move(element in memory, four.at[k]) for the elements of one half; 16 bytes at once where that is the same.
  template <class Move>
  DEVICE Four<float> each(int64_t n, int64_t size, int64_t first, int count, int64_t offset, Four<float> four,
                          const Move& move) const {
    const int64_t pixel = divisor_.of(static_cast<uint32_t>(first));
    float* place = data_ + 2 * n * size + first + pixel * channels_ + offset;
    if (whole_) {
      auto& together = *reinterpret_cast<Four<float>*>(place);
      move(together, four);
      return four;
    }
    int64_t left = (pixel + 1) * channels_ - first;  // elements of this pixel
    for (int k = 0; k < 4; ++k) {
      if (k >= count) break;
      if (k >= left) {
        place += channels_;
        left += channels_;
      }
      move(place[k], four.at[k]);
    }
    return four;
  }

  float* data_;
  int64_t channels_;
  Divisor divisor_;
  bool doubled_, whole_ = false;
};

}  // namespace diffusion::cuda
