// Activation functions (core/ops/activation.h), one pass each; an output may be an input.
#include "core/ops/activation.h"

#include "cpu/elementwise.h"
#include "cpu/math.h"
#include "cpu/ops.h"

namespace diffusion::cpu::DIFFUSION_ISA {

void activation(Stream& stream, const Activation& op) {
  switch (static_cast<ActivationKind>(op.kind)) {
    case ActivationKind::relu:
      return map(stream, op.x, op.y, [](float x) { return x < 0.0f ? 0.0f : x; });
    case ActivationKind::gelu:
      return map(stream, op.x, op.y, [](float x) { return gelu_f32(x); });
    case ActivationKind::gelu_tanh:
      return map(stream, op.x, op.y, [](float x) { return gelu_tanh_f32(x); });
    case ActivationKind::sigmoid:
      return map(stream, op.x, op.y, [](float x) { return sigmoid(x); });
    case ActivationKind::tanh:
      return map(stream, op.x, op.y, [](float x) { return tanh_f32(x); });
    case ActivationKind::count:
      return;
  }
}

void activation_backward(Stream& stream, const ActivationBackward& op) {
  const auto with = [&](const auto& slope) {
    map(stream, op.dy, op.x, op.dx, [slope](float dy, float x) { return dy * slope(x); });
  };
  switch (static_cast<ActivationKind>(op.kind)) {
    case ActivationKind::relu:
      return with([](float x) { return x > 0.0f ? 1.0f : x != x ? x : 0.0f; });
    case ActivationKind::gelu:
      return with([](float x) { return gelu_slope(x); });
    case ActivationKind::gelu_tanh:
      return with([](float x) { return gelu_tanh_slope(x); });
    case ActivationKind::sigmoid:
      return with([](float x) { return sigmoid_slope(x); });
    case ActivationKind::tanh:
      return with([](float x) { return 4.0f * sigmoid_slope(2.0f * x); });
    case ActivationKind::count:
      return;
  }
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
