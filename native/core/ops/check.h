// The last safety net before a command is queued: TypeScript has already checked and explained; these keep a wrong call
// from reading or writing outside a tensor.
#pragma once

#include <tuple>
#include <type_traits>

#include "core/error.h"
#include "core/view.h"

namespace diffusion {

template <class Op>
void require(bool condition, const char* what) {
  if (!condition) fail(code::shape, "%s: %s", Op::name, what);
}

template <class Op>
void require_dtype(const View& view, DType dtype, const char* what) {
  if (view && view.dtype != dtype) fail(code::dtype, "%s: %s has the wrong element type", Op::name, what);
}

// All operands that are present hold float32.
template <class Op, class... Views>
void require_f32(const Views&... views) {
  (require_dtype<Op>(views, DType::f32, "an operand"), ...);
}

// All operands that are present hold one element type of the arithmetic: f32 or bf16.
template <class Op, class... Views>
void require_one_float(const View& first, const Views&... rest) {
  if (first.dtype != DType::f32 && first.dtype != DType::bf16)
    fail(code::dtype, "%s: an operand must hold f32 or bf16", Op::name);
  (require_dtype<Op>(rest, first.dtype, "an operand"), ...);
}

// Whether an operand holds bf16.
template <class Op>
bool has_bf16(const Op& op) {
  const auto holds = [](const auto& field) {
    if constexpr (std::is_base_of_v<View, std::decay_t<decltype(field)>>)
      return field && field.dtype == DType::bf16;
    else
      return false;
  };
  return std::apply([&](auto... members) { return (holds(op.*members) || ...); }, Op::fields);
}

// Bytes of a table, looked up by its first axis, that this many lookups do not reach.
inline int64_t untouched_rows(const View& table, int64_t lookups) {
  const int64_t rows = table.shape[0];
  return lookups < rows ? table.bytes() / rows * (rows - lookups) : 0;
}

inline bool same_shape(const View& a, const View& b) {
  if (a.rank != b.rank) return false;
  for (int i = 0; i < a.rank; ++i)
    if (a.shape[i] != b.shape[i]) return false;
  return true;
}

inline bool overlap(const View& a, const View& b) {
  const auto begin = [](const View& view) { return view.as<const char>(); };
  return begin(a) < begin(b) + b.bytes() && begin(b) < begin(a) + a.bytes();
}

inline bool has_size(const View& view, int64_t size) { return !view || view.size() == size; }

}  // namespace diffusion
