// Scaled dot-product attention (Vaswani et al. 2017), without an L×L tensor in memory (Dao et al. 2022).
//   y[n, i, h] = Σ_j softmax_j(scale · q[n, i, h]·k[n, j, h]) · v[n, j, h]
//   q, k, v, y [N, L, heads·D], head h holds channels h·D … h·D + D − 1
//   q, k, v, y and their gradients f32 or bf16 alike (sums and softmax in f32)   lse f32
//   lse [N, heads, L] = ln Σ_j exp(scale · q·k), kept for the backward pass
#pragma once

#include "core/ops/check.h"

namespace diffusion {

// Of one product of an [L, D] tensor with another, for all heads of all samples.
inline double attention_product_flops(const View& q) {
  return 2.0 * static_cast<double>(q.size()) * static_cast<double>(q.shape[1]);
}

struct Attention {
  static constexpr const char* name = "attention";
  In q, k, v;
  Out y, lse;
  int32_t heads;
  float scale;
  static constexpr auto fields = std::tuple{&Attention::q,   &Attention::k,     &Attention::v,    &Attention::y,
                                            &Attention::lse, &Attention::heads, &Attention::scale};

  double flops() const { return 2 * attention_product_flops(q); }  // q·k, p·v
  void check() const {
    require<Attention>(q.rank == 3 && same_shape(q, k) && same_shape(q, v) && same_shape(q, y),
                       "q, k, v and y must be [N, L, C] alike");
    require<Attention>(heads >= 1 && q.shape[2] % heads == 0, "channels must be divisible by heads");
    require<Attention>(lse.size() == q.shape[0] * heads * q.shape[1], "lse does not match");
    require_one_float<Attention>(q, k, v, y);
    require_f32<Attention>(lse);
  }
};

struct AttentionBackward {
  static constexpr const char* name = "attentionBackward";
  In dy, q, k, v, y, lse;
  Out dq, dk, dv;
  int32_t heads;
  float scale;
  static constexpr auto fields =
      std::tuple{&AttentionBackward::dy, &AttentionBackward::q,     &AttentionBackward::k,    &AttentionBackward::v,
                 &AttentionBackward::y,  &AttentionBackward::lse,   &AttentionBackward::dq,   &AttentionBackward::dk,
                 &AttentionBackward::dv, &AttentionBackward::heads, &AttentionBackward::scale};

  double flops() const { return 5 * attention_product_flops(q); }  // q·k again, dy·v, dq, dk, dv
  void check() const {
    require<AttentionBackward>(q.rank == 3 && same_shape(q, k) && same_shape(q, v) && same_shape(q, y) &&
                                   same_shape(q, dy) && same_shape(q, dq) && same_shape(q, dk) && same_shape(q, dv),
                               "all tensors must be [N, L, C] alike");
    require<AttentionBackward>(heads >= 1 && q.shape[2] % heads == 0, "channels must be divisible by heads");
    require<AttentionBackward>(lse.size() == q.shape[0] * heads * q.shape[1], "lse does not match");
    require_one_float<AttentionBackward>(q, dy, k, v, y, dq, dk, dv);
    require_f32<AttentionBackward>(lse);
  }
};

}  // namespace diffusion
