// Every operation of the contract, once: (operation, function of a backend). The order is the operation's number.
#pragma once

#include "core/ops/activation.h"
#include "core/ops/adamw.h"
#include "core/ops/attention.h"
#include "core/ops/broadcast.h"
#include "core/ops/conv2d.h"
#include "core/ops/elementwise.h"
#include "core/ops/embedding.h"
#include "core/ops/group_norm.h"
#include "core/ops/layer_norm.h"
#include "core/ops/layout.h"
#include "core/ops/linear.h"
#include "core/ops/linear_group.h"
#include "core/ops/pad.h"
#include "core/ops/pooling.h"
#include "core/ops/process.h"
#include "core/ops/random.h"
#include "core/ops/reduce.h"
#include "core/ops/reverse_step.h"
#include "core/ops/softmax.h"
#include "core/ops/threshold.h"
#include "core/ops/timesteps.h"
#include "core/ops/upsample.h"
#include "core/ops/variational.h"

#define DIFFUSION_OPS(X)                                       \
  X(Conv2d, conv2d)                                            \
  X(Conv2dBackwardData, conv2d_backward_data)                  \
  X(Conv2dBackwardWeights, conv2d_backward_weights)            \
  X(Linear, linear)                                            \
  X(LinearBackwardData, linear_backward_data)                  \
  X(LinearBackwardWeights, linear_backward_weights)            \
  X(LinearGroup, linear_group)                                 \
  X(LinearGroupBackwardData, linear_group_backward_data)       \
  X(LinearGroupBackwardWeights, linear_group_backward_weights) \
  X(GroupNorm, group_norm)                                     \
  X(GroupNormBackward, group_norm_backward)                    \
  X(Attention, attention)                                      \
  X(AttentionBackward, attention_backward)                     \
  X(Silu, silu)                                                \
  X(SiluBackward, silu_backward)                               \
  X(Add, add)                                                  \
  X(Mul, mul)                                                  \
  X(Scale, scale)                                              \
  X(Dropout, dropout)                                          \
  X(Fill, fill)                                                \
  X(Cast, cast)                                                \
  X(Permute, permute)                                          \
  X(Concat, concat)                                            \
  X(Split, split)                                              \
  X(Upsample, upsample)                                        \
  X(UpsampleBackward, upsample_backward)                       \
  X(AvgPool, avg_pool)                                         \
  X(AvgPoolBackward, avg_pool_backward)                        \
  X(MaxPool, max_pool)                                         \
  X(MaxPoolBackward, max_pool_backward)                        \
  X(Activation, activation)                                    \
  X(ActivationBackward, activation_backward)                   \
  X(Softmax, softmax)                                          \
  X(SoftmaxBackward, softmax_backward)                         \
  X(LayerNorm, layer_norm)                                     \
  X(LayerNormBackward, layer_norm_backward)                    \
  X(Broadcast, broadcast)                                      \
  X(ReduceSum, reduce_sum)                                     \
  X(Pad, pad)                                                  \
  X(Place, place)                                              \
  X(TimestepEmbedding, timestep_embedding)                     \
  X(Embedding, embedding)                                      \
  X(EmbeddingBackward, embedding_backward)                     \
  X(Noising, noising)                                          \
  X(Blend, blend)                                              \
  X(Gather, gather)                                            \
  X(ReverseStep, reverse_step)                                 \
  X(Threshold, threshold)                                      \
  X(ModelVariance, model_variance)                             \
  X(VariationalBound, variational_bound)                       \
  X(VariationalBoundBackward, variational_bound_backward)      \
  X(ImportanceTimesteps, importance_timesteps)                 \
  X(RecordLosses, record_losses)                               \
  X(Mean, mean)                                                \
  X(MeanBackward, mean_backward)                               \
  X(SumPixels, sum_pixels)                                     \
  X(MseLoss, mse_loss)                                         \
  X(MseLossBackward, mse_loss_backward)                        \
  X(RandomNormal, random_normal)                               \
  X(RandomUniform, random_uniform)                             \
  X(RandomIntegers, random_integers)                           \
  X(AdvanceSeed, advance_seed)                                 \
  X(GradientNorm, gradient_norm)                               \
  X(AdamW, adamw)

namespace diffusion {

enum class OpId : int32_t {
#define X(Op, function) Op,
  DIFFUSION_OPS(X)
#undef X
      count
};

template <class Op>
inline constexpr OpId op_id = OpId::count;
#define X(Op, function) \
  template <>           \
  inline constexpr OpId op_id<Op> = OpId::Op;
DIFFUSION_OPS(X)
#undef X

}  // namespace diffusion
