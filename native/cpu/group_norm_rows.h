// The inner loops of group normalisation. A row is a run of values whose channels repeat the pattern of the
// coefficients; all pointers address its first value.
#pragma once

#include <cstdint>

#include "cpu/math.h"

namespace diffusion::cpu::DIFFUSION_ISA::group_norm_rows {

// Affine coefficients of a sample, one a channel: z = (x − centre)·slope + offset.
struct Affine {
  const float *centre, *slope, *offset;

  Affine operator+(int64_t channels) const { return {centre + channels, slope + channels, offset + channels}; }
};

// What follows the affine map; dropped are the elements whose uniform number is below p.
struct Tail {
  bool silu, dropout;
  float p, keep;
};

// sum += x − pilot, squares += (x − pilot)² over `rows` rows of `length` values, `pitch` apart. Near the data's own
// values the squares do not cancel.
inline void add_moments(const float* x, int64_t rows, int64_t length, int64_t pitch, const float* __restrict__ pilot,
                        float* __restrict__ sum, float* __restrict__ squares) {
  int64_t row = 0;
  for (; row + 4 <= rows; row += 4, x += 4 * pitch)
    for (int64_t i = 0; i < length; ++i) {
      const float d0 = x[i] - pilot[i], d1 = x[i + pitch] - pilot[i];
      const float d2 = x[i + 2 * pitch] - pilot[i], d3 = x[i + 3 * pitch] - pilot[i];
      sum[i] += (d0 + d1) + (d2 + d3);
      squares[i] += madd(d0, d0, d1 * d1) + madd(d2, d2, d3 * d3);
    }
  for (; row < rows; ++row, x += pitch)
    for (int64_t i = 0; i < length; ++i) {
      const float d = x[i] - pilot[i];
      sum[i] += d;
      squares[i] += d * d;
    }
}

template <bool silu, bool dropout>
void apply_row(const Tail& tail, const Affine& z_of, const uint32_t* words, const float* x, float* y, int64_t length) {
  const float p = tail.p, keep = tail.keep;
#pragma omp simd
  for (int64_t i = 0; i < length; ++i) {
    float z = madd(x[i] - z_of.centre[i], z_of.slope[i], z_of.offset[i]);
    if constexpr (silu) z = silu_f32(z);
    if constexpr (dropout) z = uniform(words[i]) < p ? 0.0f : z * keep;
    y[i] = z;
  }
}

// dz = the gradient of the affine map's result;  sum += dz, product += dz·(x − centre).
template <bool silu, bool dropout>
void differentiate_row(const Tail& tail, const Affine& z_of, const uint32_t* words, const float* dy, const float* x,
                       float* dz_out, float* sum, float* product, int64_t length) {
  const float p = tail.p, keep = tail.keep;
#pragma omp simd
  for (int64_t i = 0; i < length; ++i) {
    const float d = x[i] - z_of.centre[i];
    float dz = dy[i];
    if constexpr (dropout) dz = uniform(words[i]) < p ? 0.0f : dz * keep;
    if constexpr (silu) dz *= silu_slope(madd(d, z_of.slope[i], z_of.offset[i]));
    dz_out[i] = dz;
    sum[i] += dz;
    product[i] = madd(dz, d, product[i]);
  }
}

// dx = dz·slope − (x − centre)·pull − lift
inline void finish_row(const Affine& z_of, const float* pull, const float* lift, const float* x, float* dx,
                       int64_t length) {
#pragma omp simd
  for (int64_t i = 0; i < length; ++i)
    dx[i] = madd(dx[i], z_of.slope[i], -madd(x[i] - z_of.centre[i], pull[i], lift[i]));
}

// Chosen once an operation, out of the loops.
using Apply = decltype(&apply_row<false, false>);
using Differentiate = decltype(&differentiate_row<false, false>);

inline Apply apply_for(const Tail& tail) {
  if (tail.silu) return tail.dropout ? apply_row<true, true> : apply_row<true, false>;
  return tail.dropout ? apply_row<false, true> : apply_row<false, false>;
}

inline Differentiate differentiate_for(const Tail& tail) {
  if (tail.silu) return tail.dropout ? differentiate_row<true, true> : differentiate_row<true, false>;
  return tail.dropout ? differentiate_row<false, true> : differentiate_row<false, false>;
}

}  // namespace diffusion::cpu::DIFFUSION_ISA::group_norm_rows
