// The last safety net before a command is queued: TypeScript has already checked and explained; these keep a wrong call
// from reading or writing outside a tensor.
#pragma once

#include <tuple>

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
