// Maps of one or two tensors, element by element: to[i] = f(from[i]…) in f32, rounded to the type of `to`.
#pragma once

#include "cpu/float_types.h"
#include "cpu/parallel.h"

namespace diffusion::cpu::DIFFUSION_ISA {

template <class F>
void map(const Stream& stream, const View& x, const View& y, const F& f) {
  with_float(y.dtype, [&](auto type) {
    using T = decltype(type);
    parallel_elements(stream, y.size(), [from = x.as<T>(), to = y.as<T>(), f](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) to[i] = convert<T>(f(widen(from[i])));
    });
  });
}

template <class F>
void map(const Stream& stream, const View& a, const View& b, const View& y, const F& f) {
  with_float(y.dtype, [&](auto type) {
    using T = decltype(type);
    const T *const left = a.as<T>(), *const right = b.as<T>();
    parallel_elements(stream, y.size(), [left, right, to = y.as<T>(), f](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) to[i] = convert<T>(f(widen(left[i]), widen(right[i])));
    });
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
