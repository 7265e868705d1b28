// How group normalisation cuts its work: by the shape alone, so that results depend neither on the batch nor on the
// number of threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "core/ops/group_norm.h"
#include "cpu/parallel.h"
#include "cpu/random_bulk.h"

namespace diffusion::cpu::DIFFUSION_ISA {

// One of the two inputs: `channels` of the C channels, from `offset` on.
struct Source {
  int64_t channels, offset;
};

// A row is `fold` pixels (several where there are few channels, so that vectors stay full), a block some rows.
struct GroupNormPlan {
  int64_t n, pixels, c, groups, fold, row, block_pixels, blocks;
  Source sources[2];
  int source_count;

  GroupNormPlan(const View& x, const View& x2, int64_t groups) : groups(groups) {
    n = x.shape[0];
    const int64_t c1 = x.channels(), c2 = x2 ? x2.channels() : 0;
    c = c1 + c2;
    pixels = n * c1 == 0 ? 0 : x.size() / (n * c1);
    sources[0] = {c1, 0};
    sources[1] = {c2, c1};
    source_count = x2 ? 2 : 1;
    constexpr int64_t kRow = 64, kBlock = 16384;
    fold = x2 ? 1 : std::max<int64_t>(1, kRow / c);
    row = fold * c;
    block_pixels = std::max<int64_t>(4, kBlock / row) * fold;
    blocks = (pixels + block_pixels - 1) / block_pixels;
  }

  int64_t first_pixel(int64_t block) const { return block * block_pixels; }
  int64_t pixels_of(int64_t block) const { return std::min(block_pixels, pixels - first_pixel(block)); }
  double group_size() const { return static_cast<double>(pixels) * static_cast<double>(c / groups); }

  // Whether threads share out samples, which keeps a sample in the cache between the passes, or blocks.
  bool by_samples(const Stream& stream) const { return n % stream.threads == 0 || n >= 4 * stream.threads; }

  // Random words are drawn for whole rows, some at a time.
  int64_t rows_drawn() const { return std::max<int64_t>(1, kRandomChunk / row); }
  int64_t words() const { return rows_drawn() * row + kRandomPadding; }

  // f(first pixel, pixels) over the stretches of a block that share one draw.
  template <class F>
  void for_stretches(int64_t block, const F& f) const {
    const int64_t last = first_pixel(block) + pixels_of(block), step = rows_drawn() * fold;
    for (int64_t pixel = first_pixel(block); pixel < last; pixel += step) f(pixel, std::min(step, last - pixel));
  }
};

// Arrays of one row that belong to a thread, and its random words.
class ThreadRows {
 public:
  ThreadRows(Stream& stream, int slot, const GroupNormPlan& plan, int64_t count)
      : row_((plan.row + 15) / 16 * 16), pitch_(count * row_ + (plan.words() + 15) / 16 * 16), count_(count) {
    data_ = stream.scratch.floats(slot, static_cast<size_t>(stream.threads * pitch_));
  }
  float* operator[](int64_t i) const { return data_ + omp_get_thread_num() * pitch_ + i * row_; }
  uint32_t* words() const { return reinterpret_cast<uint32_t*>((*this)[count_]); }

 private:
  int64_t row_, pitch_, count_;
  float* data_;
};

// The first C values of a row array, repeated over the pixels of the row.
inline void repeat(const GroupNormPlan& plan, float* values) {
  for (int64_t i = plan.c; i < plan.row; ++i) values[i] = values[i - plan.c];
}

// The sum over the pixels of a row.
inline double fold_channel(const GroupNormPlan& plan, const float* values, int64_t channel) {
  double sum = 0;
  for (int64_t i = channel; i < plan.row; i += plan.c) sum += static_cast<double>(values[i]);
  return sum;
}

// f(source index, position in the source, position in y, channel offset, length) for each row of a stretch.
template <class F>
void for_rows(const GroupNormPlan& plan, int64_t n, int64_t pixel, int64_t count, const F& f) {
  for (int64_t p = pixel; p < pixel + count; p += plan.fold) {
    const int64_t pixels = std::min(plan.fold, pixel + count - p), at = n * plan.pixels + p;
    for (int s = 0; s < plan.source_count; ++s) {
      const auto [channels, offset] = plan.sources[s];
      f(s, at * channels, at * plan.c + offset, (p - pixel) * plan.c + offset, pixels * channels);
    }
  }
}

// Two passes over each sample: start(n), first(n, block)…, middle(n, owner), second(n, block)…, where `owner` is true
// for one caller a sample. Where threads share out blocks, start and middle run in every thread that works on a sample.
template <class Start, class First, class Middle, class Second>
void two_passes(const Stream& stream, const GroupNormPlan& plan, const Start& start, const First& first,
                const Middle& middle, const Second& second) {
  if (plan.by_samples(stream)) {
    parallel_for(stream, plan.n, grain_of(plan.pixels * plan.c), [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        start(n);
        for (int64_t block = 0; block < plan.blocks; ++block) first(n, block);
        middle(n, true);
        for (int64_t block = 0; block < plan.blocks; ++block) second(n, block);
      }
    });
    return;
  }
  const int64_t items = plan.n * plan.blocks, grain = grain_of(plan.block_pixels * plan.c);
  const auto by_block = [&](const auto& enter, const auto& work) {
    parallel_for(stream, items, grain, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t n = item / plan.blocks, block = item % plan.blocks;
        if (item == begin || block == 0) enter(n, block == 0);
        work(n, block);
      }
    });
  };
  by_block([&](int64_t n, bool) { start(n); }, first);
  by_block(
      [&](int64_t n, bool owner) {
        start(n);
        middle(n, owner);
      },
      second);
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
