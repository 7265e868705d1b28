// Descriptors of convolutions, in the two forms of oneDNN's interface: 2.x describes an operation first and the
// primitive after it, 3.x in one step. Nothing else here differs between them. For the files of this folder.
#pragma once

#include <oneapi/dnnl/dnnl.hpp>

#include "cpu/runtime/primitives.h"

namespace diffusion::cpu {

using dnnl::memory;

using Forward = dnnl::convolution_forward;
using BackwardData = dnnl::convolution_backward_data;
using BackwardWeights = dnnl::convolution_backward_weights;

inline memory::data_type operand_type(Precision precision) {
  return precision == Precision::f32 ? memory::data_type::f32 : memory::data_type::bf16;
}
inline memory::data_type result_type(Precision precision) {
  return precision == Precision::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

// Element types of x, the weight and y.
struct Types {
  memory::data_type x, weight, y;

  static Types of_forward(Precision p) { return {operand_type(p), operand_type(p), result_type(p)}; }
  static Types of_backward_data(Precision p) { return {result_type(p), operand_type(p), operand_type(p)}; }
  static Types of_backward_weights(Precision p) { return {operand_type(p), memory::data_type::f32, operand_type(p)}; }
  // Of the forward description that those of the backward passes ask for.
  static Types of_hint(Precision p) { return {operand_type(p), operand_type(p), operand_type(p)}; }
};

inline memory::desc bias_desc(const Convolution& s) { return {{s.k}, memory::data_type::f32, memory::format_tag::x}; }

enum Kind : int64_t { kForward, kBackwardData, kBackwardWeights };

inline Types types_of(const Convolution& shape, Kind kind) {
  return kind == kForward        ? Types::of_forward(shape.precision)
         : kind == kBackwardData ? Types::of_backward_data(shape.precision)
                                 : Types::of_backward_weights(shape.precision);
}

// Operands: plain activations, the layout of the weight left to oneDNN.
struct Descriptors {
  memory::desc x, weight, bias, y;
  memory::dims strides, before, after;

  Descriptors(const Convolution& s, const Types& types, bool with_bias)
      : x({s.n, s.c, s.h, s.w}, types.x, memory::format_tag::nhwc),
        weight({s.k, s.c, s.r, s.s}, types.weight, memory::format_tag::any),
        y({s.n, s.k, s.oh, s.ow}, types.y, memory::format_tag::nhwc),
        strides{s.stride, s.stride},
        before{s.pad_top, s.pad_left},
        after{s.pad_bottom, s.pad_right} {
    if (with_bias) bias = bias_desc(s);
  }
};

// The weight as the operations hold it, or a part of its output channels: C rows of [R, S, weight_c, K].
inline memory::desc hwio(const Convolution& s, memory::data_type type, int64_t channels) {
  return {{channels, s.c, s.r, s.s}, type, memory::dims{1, s.k, s.s * s.weight_c * s.k, s.weight_c * s.k}};
}
inline memory::desc hwio(const Convolution& s, memory::data_type type) { return hwio(s, type, s.k); }

#if DNNL_VERSION_MAJOR >= 3

inline Forward::primitive_desc describe_forward(const dnnl::engine& engine, const Descriptors& d,
                                                const dnnl::primitive_attr& attr) {
  return {engine,
          dnnl::prop_kind::forward_training,
          dnnl::algorithm::convolution_direct,
          d.x,
          d.weight,
          d.bias,
          d.y,
          d.strides,
          d.before,
          d.after,
          attr};
}

inline BackwardData::primitive_desc describe_backward_data(const dnnl::engine& engine, const Descriptors& d,
                                                           const Descriptors& hint, const dnnl::primitive_attr& attr) {
  return {engine,  dnnl::algorithm::convolution_direct, d.x, d.weight, d.y, d.strides, d.before,
          d.after, describe_forward(engine, hint, {}),  attr};
}

inline BackwardWeights::primitive_desc describe_backward_weights(const dnnl::engine& engine, const Descriptors& d,
                                                                 const Descriptors& hint,
                                                                 const dnnl::primitive_attr& attr) {
  return {engine,  dnnl::algorithm::convolution_direct, d.x, d.weight, d.bias, d.y, d.strides, d.before,
          d.after, describe_forward(engine, hint, {}),  attr};
}

#else

inline Forward::primitive_desc describe_forward(const dnnl::engine& engine, const Descriptors& d,
                                                const dnnl::primitive_attr& attr) {
  const Forward::desc operation(dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, d.x, d.weight,
                                d.bias, d.y, d.strides, d.before, d.after);
  return {operation, attr, engine};
}

inline BackwardData::primitive_desc describe_backward_data(const dnnl::engine& engine, const Descriptors& d,
                                                           const Descriptors& hint, const dnnl::primitive_attr& attr) {
  const BackwardData::desc operation(dnnl::algorithm::convolution_direct, d.x, d.weight, d.y, d.strides, d.before,
                                     d.after);
  return {operation, attr, engine, describe_forward(engine, hint, {})};
}

inline BackwardWeights::primitive_desc describe_backward_weights(const dnnl::engine& engine, const Descriptors& d,
                                                                 const Descriptors& hint,
                                                                 const dnnl::primitive_attr& attr) {
  const BackwardWeights::desc operation(dnnl::algorithm::convolution_direct, d.x, d.weight, d.bias, d.y, d.strides,
                                        d.before, d.after);
  return {operation, attr, engine, describe_forward(engine, hint, {})};
}

#endif

}  // namespace diffusion::cpu
