// The inner loops of group normalisation. A row is a run of values whose channels repeat the pattern of the
// coefficients; all pointers address its first value.
#pragma once

#include <cstdint>

#include "cpu/float_types.h"
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
template <class T>
void add_moments(const T* x, int64_t rows, int64_t length, int64_t pitch, const float* __restrict__ pilot,
                 float* __restrict__ sum, float* __restrict__ squares) {
  int64_t row = 0;
  for (; row + 4 <= rows; row += 4, x += 4 * pitch)
    for (int64_t i = 0; i < length; ++i) {
      const float d0 = widen(x[i]) - pilot[i], d1 = widen(x[i + pitch]) - pilot[i];
      const float d2 = widen(x[i + 2 * pitch]) - pilot[i], d3 = widen(x[i + 3 * pitch]) - pilot[i];
      sum[i] += (d0 + d1) + (d2 + d3);
      squares[i] += madd(d0, d0, d1 * d1) + madd(d2, d2, d3 * d3);
    }
  for (; row < rows; ++row, x += pitch)
    for (int64_t i = 0; i < length; ++i) {
      const float d = widen(x[i]) - pilot[i];
      sum[i] += d;
      squares[i] += d * d;
    }
}

template <class T, bool silu, bool dropout>
void apply_row(const Tail& tail, const Affine& z_of, const uint32_t* words, const T* x, T* y, int64_t length) {
  const float p = tail.p, keep = tail.keep;
#pragma omp simd
  for (int64_t i = 0; i < length; ++i) {
    float z = madd(widen(x[i]) - z_of.centre[i], z_of.slope[i], z_of.offset[i]);
    if constexpr (silu) z = silu_f32(z);
    if constexpr (dropout) z = uniform(words[i]) < p ? 0.0f : z * keep;
    y[i] = convert<T>(z);
  }
}

// dz = the gradient of the affine map's result;  sum += dz, product += dz·(x − centre).
template <class T, bool silu, bool dropout>
void differentiate_row(const Tail& tail, const Affine& z_of, const uint32_t* words, const T* dy, const T* x,
                       float* dz_out, float* sum, float* product, int64_t length) {
  const float p = tail.p, keep = tail.keep;
#pragma omp simd
  for (int64_t i = 0; i < length; ++i) {
    const float d = widen(x[i]) - z_of.centre[i];
    float dz = widen(dy[i]);
    if constexpr (dropout) dz = uniform(words[i]) < p ? 0.0f : dz * keep;
    if constexpr (silu) dz *= silu_slope(madd(d, z_of.slope[i], z_of.offset[i]));
    dz_out[i] = dz;
    sum[i] += dz;
    product[i] = madd(dz, d, product[i]);
  }
}

// dx = dz·slope − (x − centre)·pull − lift
template <class T>
void finish_row(const Affine& z_of, const float* pull, const float* lift, const T* x, const float* dz, T* dx,
                int64_t length) {
#pragma omp simd
  for (int64_t i = 0; i < length; ++i)
    dx[i] = convert<T>(madd(dz[i], z_of.slope[i], -madd(widen(x[i]) - z_of.centre[i], pull[i], lift[i])));
}

// Chosen once an operation, out of the loops.
template <class T>
using Apply = decltype(&apply_row<T, false, false>);
template <class T>
using Differentiate = decltype(&differentiate_row<T, false, false>);

template <class T>
Apply<T> apply_for(const Tail& tail) {
  if (tail.silu) return tail.dropout ? apply_row<T, true, true> : apply_row<T, true, false>;
  return tail.dropout ? apply_row<T, false, true> : apply_row<T, false, false>;
}

template <class T>
Differentiate<T> differentiate_for(const Tail& tail) {
  if (tail.silu) return tail.dropout ? differentiate_row<T, true, true> : differentiate_row<T, true, false>;
  return tail.dropout ? differentiate_row<T, false, true> : differentiate_row<T, false, false>;
}

}  // namespace diffusion::cpu::DIFFUSION_ISA::group_norm_rows
