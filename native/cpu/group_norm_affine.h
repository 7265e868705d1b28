// What the forward and the backward pass of group normalisation share.
#pragma once

#include "core/ops/group_norm.h"
#include "cpu/group_norm_plan.h"
#include "cpu/group_norm_rows.h"

namespace diffusion::cpu::DIFFUSION_ISA {

using group_norm_rows::Affine;
using group_norm_rows::Tail;

template <class Op>
Tail tail_of(const Op& op) {
  return {op.silu, op.dropout > 0.0f, op.dropout, 1.0f / (1.0f - op.dropout)};
}

// Slope and offset of a channel's z for mean and rstd of its group; `centre` is the mean that will be subtracted.
template <class Op>
void set_affine(const Op& op, int64_t n, int64_t c, int64_t k, double mean, double rstd, float centre, float* slope,
                float* offset) {
  double a = rstd * static_cast<double>(op.gamma.f32()[k]), b = op.beta.f32()[k];
  if (op.scale_shift) {
    const float* row = op.scale_shift.f32() + n * 2 * c;
    const double factor = 1.0 + static_cast<double>(row[k]);
    a *= factor;
    b = b * factor + static_cast<double>(row[c + k]);
  }
  *slope = static_cast<float>(a);
  *offset = static_cast<float>(b + (static_cast<double>(centre) - mean) * a);
}

inline const uint32_t* draw(const GroupNormPlan& plan, const Tail& tail, const Generator& g, int64_t n, int64_t pixel,
                            int64_t count, uint32_t* buffer) {
  if (!tail.dropout) return buffer;
  return random_words(g, static_cast<uint32_t>(n), pixel * plan.c, count * plan.c, buffer);
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
