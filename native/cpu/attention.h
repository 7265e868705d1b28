// What attention in f32 and in bf16 share.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/ops/attention.h"
#include "cpu/math.h"
#include "cpu/matmul.h"

namespace diffusion::cpu::DIFFUSION_ISA {

// In instructions made for bf16, which every processor has that gets operations in bf16.
void attention_bf16(Stream& stream, const Attention& op);
void attention_backward_bf16(Stream& stream, const AttentionBackward& op);

constexpr int64_t kTile = 1 << 16;  // scores that a task holds at once (256 KB)

static inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t padded(int64_t l) { return divide_up(l, kVectorLanes) * kVectorLanes; }

// L rows in blocks of nearly equal size, a multiple of `unit`.
struct Blocks {
  int64_t rows, count;
  Blocks(int64_t l, int64_t most, int64_t unit = 1)
      : rows(divide_up(divide_up(l, divide_up(l, most)), unit) * unit), count(divide_up(l, rows)) {}
};
constexpr int64_t kMostRows = 64;
static inline int64_t most_rows(int64_t l) { return std::clamp<int64_t>(kTile / l, 12, kMostRows); }

struct AttentionShape {
  int64_t n, l, heads, d, c, lp;  // lp: L padded to whole vectors, the row stride of scores and transposed heads
  AttentionShape(const View& q, int64_t heads)
      : n(q.shape[0]), l(q.shape[1]), heads(heads), d(q.shape[2] / heads), c(q.shape[2]), lp(padded(l)) {}
  int64_t at(int64_t head) const { return head / heads * l * c + head % heads * d; }  // head counts n·heads + h
};

static inline float horizontal_sum(Vector v) {
  float lane[kVectorLanes];
  store(lane, v);
  for (int width = kVectorLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  return lane[0];
}

// x [Lp], the first L of whole vectors: −∞ from L on; returns the greatest.
static inline float pad_to_minimum(float* x, int64_t l, int64_t lp) {
  for (int64_t i = l; i < lp; ++i) x[i] = -std::numeric_limits<float>::infinity();
  Vector most = load(x);
  for (int64_t i = kVectorLanes; i < lp; i += kVectorLanes) {
    const Vector v = load(x + i);
    most = v > most ? v : most;
  }
  float max = most[0];
  for (int lane = 1; lane < kVectorLanes; ++lane) max = most[lane] > max ? most[lane] : max;
  return max;
}

// x [Lp] → e^(x − max x) in place, for the first L of whole vectors; returns the sum and gives ln Σ e^x.
static inline float softmax_row(float* x, int64_t l, int64_t lp, float& lse) {
  const float max = pad_to_minimum(x, l, lp);
  for (int64_t i = 0; i < lp; ++i) x[i] = exp_falling_f32(x[i] - max);
  Vector sum{};
  for (int64_t i = 0; i < lp; i += kVectorLanes) sum += load(x + i);
  const float total = horizontal_sum(sum);
  lse = max + std::log(total);
  return total;
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
