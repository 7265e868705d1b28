// Activation functions (core/ops/activation.h).
//   x, y, dy, dx: of one shape, f32 or bf16 with arithmetic in f32
//   a thread for every 16 bytes; two accesses an element forward, three backward
#include "core/ops/activation.h"
#include "cuda/dispatch.cuh"
#include "cuda/elementwise.cuh"
#include "cuda/ops.h"
#include "cuda/silu.cuh"

namespace diffusion::cuda {
namespace {

// 1/(1 + exp(−x)) and its derivative, free of cancellation.
template <class T>
DEVICE float sigmoid_of(float x) {
  const float e = decay<T>(x);
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}
template <class T>
DEVICE float sigmoid_slope(float x) {
  const float e = decay<T>(x), near = 1.0f / (1.0f + e);
  return e * near * near;
}

// Φ of the standard normal distribution.
DEVICE float normal_cdf(float x) { return 0.5f * erfcf(x * -0.707106781186547524f); }

// ½·(1 + tanh(u)) is sigmoid(2u), here of u = √(2/π)·(x + 0.044715·x³).
constexpr float kGeluLinear = 1.59576912160573071f, kGeluCubic = 0.0713548162726002527f;

template <class T, ActivationKind kind>
struct Value {
  DEVICE float operator()(float x) const {
    if constexpr (kind == ActivationKind::relu) return x < 0.0f ? 0.0f : x;
    if constexpr (kind == ActivationKind::gelu) return x * normal_cdf(x);
    if constexpr (kind == ActivationKind::gelu_tanh) return x * sigmoid_of<T>(x * fmaf(kGeluCubic * x, x, kGeluLinear));
    if constexpr (kind == ActivationKind::sigmoid) return sigmoid_of<T>(x);
    if constexpr (kind == ActivationKind::tanh) return tanhf(x);
    return x;
  }
};

template <class T, ActivationKind kind>
struct Gradient {
  DEVICE float slope(float x) const {
    if constexpr (kind == ActivationKind::relu) return x > 0.0f ? 1.0f : isnan(x) ? x : 0.0f;
    if constexpr (kind == ActivationKind::gelu)
      return fmaf(x, 0.398942280401432678f * expf(-0.5f * x * x), normal_cdf(x));
    if constexpr (kind == ActivationKind::gelu_tanh) {
      float near = x > 15.0f ? 15.0f : x;  // beyond, the slope is 0 or 1
      near = near < -15.0f ? -15.0f : near;
      const float square = near * near, u = near * fmaf(kGeluCubic, square, kGeluLinear);
      return fmaf(near * sigmoid_slope<T>(u), fmaf(3.0f * kGeluCubic, square, kGeluLinear), sigmoid_of<T>(u));
    }
    if constexpr (kind == ActivationKind::sigmoid) return sigmoid_slope<T>(x);
    if constexpr (kind == ActivationKind::tanh) return 4.0f * sigmoid_slope<T>(2.0f * x);
    return 1.0f;
  }
  DEVICE float operator()(float dy, float x) const { return dy * slope(x); }
};

// f.template operator()<kind>()
template <class F>
void with_kind(int32_t number, const F& f) {
  switch (static_cast<ActivationKind>(number)) {
    case ActivationKind::relu:
      return f.template operator()<ActivationKind::relu>();
    case ActivationKind::gelu:
      return f.template operator()<ActivationKind::gelu>();
    case ActivationKind::gelu_tanh:
      return f.template operator()<ActivationKind::gelu_tanh>();
    case ActivationKind::sigmoid:
      return f.template operator()<ActivationKind::sigmoid>();
    case ActivationKind::tanh:
      return f.template operator()<ActivationKind::tanh>();
    case ActivationKind::count:
      return;
  }
}

}  // namespace

void activation(Stream& stream, const Activation& op) {
  with_float(op.x.dtype, [&](auto type) {
    using T = decltype(type);
    with_kind(op.kind, [&]<ActivationKind kind>() {
      map_floats(stream, Activation::name, op.y.size(), Value<T, kind>{}, op.y.as<T>(), op.x.as<T>());
    });
  });
}

void activation_backward(Stream& stream, const ActivationBackward& op) {
  with_float(op.x.dtype, [&](auto type) {
    using T = decltype(type);
    with_kind(op.kind, [&]<ActivationKind kind>() {
      map_floats(stream, ActivationBackward::name, op.dx.size(), Gradient<T, kind>{}, op.dx.as<T>(), op.dy.as<T>(),
                 op.x.as<T>());
    });
  });
}

}  // namespace diffusion::cuda
