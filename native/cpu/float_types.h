// The element types of the arithmetic, f32 and bf16: loops are written once and compute in f32.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/ops/check.h"
#include "cpu/convert.h"
#include "cpu/parallel.h"

namespace diffusion::cpu::DIFFUSION_ISA {

inline float widen(float x) { return x; }

// f(a value of the element type)
template <class F>
void with_float(DType dtype, const F& f) {
  if (dtype == DType::bf16)
    f(Bf16{});
  else
    f(0.0f);
}

// to = from, converted.
template <class To, class From>
void convert_elements(const Stream& stream, const From* from, int64_t n, To* to) {
  parallel_elements(stream, n, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) to[i] = convert<To>(from[i]);
  });
}

// f(op), where operands in bf16 are replaced by copies in f32; results are rounded afterwards. For operations that read
// each operand many times.
template <class Op, class F>
void in_f32(Stream& stream, int slot, const Op& op, const F& f) {
  constexpr int64_t kLine = 16;
  const auto for_bf16 = [&op](const auto& visit) {
    const auto one = [&](auto member) {
      using Operand = std::decay_t<decltype(op.*member)>;
      if constexpr (std::is_base_of_v<View, Operand>)
        if (op.*member && (op.*member).dtype == DType::bf16) visit(member, (op.*member).size());
    };
    std::apply([&](auto... members) { (one(members), ...); }, Op::fields);
  };
  int64_t total = 0;
  for_bf16([&](auto, int64_t size) { total += (size + kLine - 1) / kLine * kLine; });
  float* next = stream.scratch.floats(slot, static_cast<size_t>(total));

  Op wide = op;
  for_bf16([&](auto member, int64_t size) {
    using Operand = std::decay_t<decltype(op.*member)>;
    auto& operand = wide.*member;
    operand.data = next;
    operand.dtype = DType::f32;
    if constexpr (std::is_same_v<Operand, In> || std::is_same_v<Operand, OptIn>)
      convert_elements(stream, (op.*member).template as<Bf16>(), size, next);
    next += (size + kLine - 1) / kLine * kLine;
  });
  f(wide);
  for_bf16([&](auto member, int64_t size) {
    using Operand = std::decay_t<decltype(op.*member)>;
    if constexpr (std::is_same_v<Operand, Out> || std::is_same_v<Operand, OptOut>)
      convert_elements(stream, (wide.*member).f32(), size, (op.*member).template as<Bf16>());
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
