#include "core/ops/attention.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "cpu/ops.h"
#include "cpu/runtime/primitives.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

// Work is cut into blocks of rows whose size depends on the shape alone, never on the batch or the team, and no two
// blocks write the same element: so the bits depend on neither.
constexpr int64_t kTileSize = 1 << 16;  // scores held at once (256 KB)

int64_t block_rows(int64_t l) { return std::clamp<int64_t>(kTileSize / l & -16, 16, 64); }

// e^x for x ≤ 0 (Cody–Waite reduction, degree 6; relative error 1e-7).
inline float exponential(float x) {
  x = std::max(x, -87.0f);
  const float n = std::nearbyint(x * 1.44269504f);
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * r) * r + r + 1.0f;
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

// Sums and maxima over a row in kLanes interleaved chains, which the compiler keeps in vectors.
constexpr int64_t kLanes = 32;

float row_max(const float* x, int64_t n) {
  float best[kLanes];
  std::fill_n(best, kLanes, x[0]);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) best[lane] = x[i + lane] > best[lane] ? x[i + lane] : best[lane];
  for (; i < n; ++i) best[0] = std::max(best[0], x[i]);
  return *std::max_element(best, best + kLanes);
}

template <class Term>
float row_sum(int64_t n, Term term) {
  float sum[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) sum[lane] += term(i + lane);
  for (int64_t lane = 0; i < n; ++i, ++lane) sum[lane] += term(i);
  float total = 0;
  for (int64_t width = kLanes / 2; width > 0; width /= 2)
    for (int64_t lane = 0; lane < width; ++lane) sum[lane] += sum[lane + width];
  total = sum[0];
  return total;
}

// x → e^(x − max) in place; returns the sum, and the logarithm of Σ e^x.
float softmax_row(float* x, int64_t n, float& lse) {
  const float max = row_max(x, n);
  for (int64_t i = 0; i < n; ++i) x[i] = exponential(x[i] - max);
  const float sum = row_sum(n, [x](int64_t i) { return x[i]; });
  lse = max + std::log(sum);
  return sum;
}

// One head of one sample in the backward pass; rows of q, k, v, y lie `stride` elements apart.
struct Head {
  const float *dy, *q, *k, *v, *y, *lse;
  float *dq, *dk, *dv;
  int64_t l, d, stride;
  float scale;

  // P and dS = scale · P∘(dP − D) for the queries i… and the keys j…, dP = dy·vᵀ, D = rowsum(dy∘y).
  bool scores(int64_t i, int64_t rows, int64_t j, int64_t columns, float* p, float* ds) const {
    bool done = gemm('N', 'T', rows, columns, d, scale, q + i * stride, stride, k + j * stride, stride, 0, p, columns);
    done &= gemm('N', 'T', rows, columns, d, 1, dy + i * stride, stride, v + j * stride, stride, 0, ds, columns);
    for (int64_t row = 0; row < rows; ++row) {
      const float *dy_row = dy + (i + row) * stride, *y_row = y + (i + row) * stride;
      const float dot = row_sum(d, [=](int64_t c) { return dy_row[c] * y_row[c]; });
      const float log_sum = lse[i + row];
      float *p_row = p + row * columns, *ds_row = ds + row * columns;
      for (int64_t c = 0; c < columns; ++c) {
        p_row[c] = exponential(std::min(p_row[c] - log_sum, 0.0f));
        ds_row[c] = scale * p_row[c] * (ds_row[c] - dot);
      }
    }
    return done;
  }
  bool query_gradient(int64_t i, int64_t rows, const float* ds) const {
    return gemm('N', 'N', rows, d, l, 1, ds, l, k, stride, 0, dq + i * stride, stride);
  }
  bool key_gradients(int64_t j, int64_t columns, const float* p, const float* ds) const {
    const bool done = gemm('T', 'N', columns, d, l, 1, p, columns, dy, stride, 0, dv + j * stride, stride);
    return done & gemm('T', 'N', columns, d, l, 1, ds, columns, q, stride, 0, dk + j * stride, stride);
  }
};

}  // namespace

void attention(Stream& stream, const Attention& op) {
  const int64_t n = op.q.shape[0], l = op.q.shape[1], c = op.q.shape[2], heads = op.heads, d = c / heads;
  const int64_t rows = std::min(block_rows(l), l), blocks = (l + rows - 1) / rows;
  float* const scratch = stream.scratch.floats(kFreeSlot, static_cast<size_t>(stream.threads * rows * l));

  bool done = true;  // an exception must not leave the parallel region
#pragma omp parallel for collapse(3) schedule(static) reduction(&& : done)
  for (int64_t image = 0; image < n; ++image)
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t block = 0; block < blocks; ++block) {
        float* const s = scratch + omp_get_thread_num() * rows * l;  // [rows, L]
        const int64_t begin = block * rows, count = std::min(rows, l - begin);
        const int64_t first = image * l * c + head * d, at = first + begin * c;
        done = done && gemm('N', 'T', count, l, d, op.scale, op.q.f32() + at, c, op.k.f32() + first, c, 0, s, l);
        float* const lse = op.lse.f32() + (image * heads + head) * l + begin;
        float sums[64];
        for (int64_t row = 0; row < count; ++row) sums[row] = softmax_row(s + row * l, l, lse[row]);
        done = done && gemm('N', 'N', count, d, l, 1, s, l, op.v.f32() + first, c, 0, op.y.f32() + at, c);
        for (int64_t row = 0; row < count; ++row) {
          const float inverse = 1 / sums[row];
          float* const y = op.y.f32() + at + row * c;
          for (int64_t i = 0; i < d; ++i) y[i] *= inverse;
        }
      }
  if (!done) fail(code::out_of_memory, "attention: no memory for a matrix product");
}

// Short sequences: one task a head, scores computed once. Long ones: a pass over blocks of queries for dq and one over
// blocks of keys for dk and dv, each computing the scores that it needs.
void attention_backward(Stream& stream, const AttentionBackward& op) {
  const int64_t n = op.q.shape[0], l = op.q.shape[1], c = op.q.shape[2], heads = op.heads, d = c / heads;
  const bool whole = l * l <= kTileSize;
  const int64_t rows = whole ? l : block_rows(l), blocks = (l + rows - 1) / rows;
  float* const scratch = stream.scratch.floats(kFreeSlot, static_cast<size_t>(2 * stream.threads * rows * l));

  bool done = true;  // an exception must not leave the parallel region
#pragma omp parallel for collapse(3) schedule(static) reduction(&& : done)
  for (int64_t image = 0; image < n; ++image)
    for (int64_t index = 0; index < heads; ++index)
      for (int64_t task = 0; task < (whole ? 1 : 2 * blocks); ++task) {
        float* const p = scratch + 2 * omp_get_thread_num() * rows * l;
        float* const ds = p + rows * l;
        const int64_t at = image * l * c + index * d, begin = task / 2 * rows, count = std::min(rows, l - begin);
        const Head head{op.dy.f32() + at,
                        op.q.f32() + at,
                        op.k.f32() + at,
                        op.v.f32() + at,
                        op.y.f32() + at,
                        op.lse.f32() + (image * heads + index) * l,
                        op.dq.f32() + at,
                        op.dk.f32() + at,
                        op.dv.f32() + at,
                        l,
                        d,
                        c,
                        op.scale};
        const bool queries = whole || task % 2 == 0, keys = whole || task % 2 == 1;
        done = done && (queries ? head.scores(begin, count, 0, l, p, ds) : head.scores(0, l, begin, count, p, ds));
        if (queries) done = done && head.query_gradient(begin, count, ds);
        if (keys) done = done && head.key_gradients(begin, count, p, ds);
      }
  if (!done) fail(code::out_of_memory, "attentionBackward: no memory for a matrix product");
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
