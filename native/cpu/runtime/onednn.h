// Descriptors of convolutions, in the two forms of oneDNN's interface: 2.x describes an operation first and the
// primitive after it, 3.x in one step. Nothing else here differs between them. For primitives.cc alone.
#pragma once

#include <oneapi/dnnl/dnnl.hpp>

#include "cpu/runtime/primitives.h"

namespace diffusion::cpu {

using dnnl::memory;

using Forward = dnnl::convolution_forward;
using BackwardData = dnnl::convolution_backward_data;
using BackwardWeights = dnnl::convolution_backward_weights;

// Operands: plain activations, the layout of the weight left to oneDNN.
struct Descriptors {
  memory::desc x, weight, bias, y;
  memory::dims strides, before, after;

  Descriptors(const Convolution& s, bool with_bias)
      : x({s.n, s.c, s.h, s.w}, memory::data_type::f32, memory::format_tag::nhwc),
        weight({s.k, s.c, s.r, s.s}, memory::data_type::f32, memory::format_tag::any),
        y({s.n, s.k, s.oh, s.ow}, memory::data_type::f32, memory::format_tag::nhwc),
        strides{s.stride, s.stride},
        before{s.pad_top, s.pad_left},
        after{s.pad_bottom, s.pad_right} {
    if (with_bias) bias = memory::desc({s.k}, memory::data_type::f32, memory::format_tag::x);
  }
};

// The weight as the operations hold it: C rows of [R, S, weight_c, K].
inline memory::desc hwio(const Convolution& s) {
  return {{s.k, s.c, s.r, s.s}, memory::data_type::f32, memory::dims{1, s.k, s.s * s.weight_c * s.k, s.weight_c * s.k}};
}

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
                                                           const dnnl::primitive_attr& attr) {
  return {engine,  dnnl::algorithm::convolution_direct, d.x, d.weight, d.y, d.strides, d.before,
          d.after, describe_forward(engine, d, {}),     attr};
}

inline BackwardWeights::primitive_desc describe_backward_weights(const dnnl::engine& engine, const Descriptors& d,
                                                                 const dnnl::primitive_attr& attr) {
  return {engine,  dnnl::algorithm::convolution_direct, d.x, d.weight, d.bias, d.y, d.strides, d.before,
          d.after, describe_forward(engine, d, {}),     attr};
}

#else

inline Forward::primitive_desc describe_forward(const dnnl::engine& engine, const Descriptors& d,
                                                const dnnl::primitive_attr& attr) {
  const Forward::desc operation(dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, d.x, d.weight,
                                d.bias, d.y, d.strides, d.before, d.after);
  return {operation, attr, engine};
}

inline BackwardData::primitive_desc describe_backward_data(const dnnl::engine& engine, const Descriptors& d,
                                                           const dnnl::primitive_attr& attr) {
  const BackwardData::desc operation(dnnl::algorithm::convolution_direct, d.x, d.weight, d.y, d.strides, d.before,
                                     d.after);
  return {operation, attr, engine, describe_forward(engine, d, {})};
}

inline BackwardWeights::primitive_desc describe_backward_weights(const dnnl::engine& engine, const Descriptors& d,
                                                                 const dnnl::primitive_attr& attr) {
  const BackwardWeights::desc operation(dnnl::algorithm::convolution_direct, d.x, d.weight, d.bias, d.y, d.strides,
                                        d.before, d.after);
  return {operation, attr, engine, describe_forward(engine, d, {})};
}

#endif

}  // namespace diffusion::cpu
