// Softmax over the last axis (core/ops/softmax.h), a row at a time; exponentials are computed twice rather than kept.
#include "core/ops/softmax.h"

#include <limits>

#include "cpu/float_types.h"
#include "cpu/math.h"
#include "cpu/ops.h"
#include "cpu/parallel.h"
#include "cpu/sum.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

template <class F>
void for_rows(const Stream& stream, const View& x, int64_t work, const F& f) {
  const int64_t d = x.channels();
  parallel_for(stream, x.rows(), grain_of(work * d), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) f(row * d, d);
  });
}

}  // namespace

void softmax(Stream& stream, const Softmax& op) {
  if (op.x.size() == 0) return;
  with_float(op.x.dtype, [&](auto type) {
    using T = decltype(type);
    for_rows(stream, op.x, 8, [&](int64_t first, int64_t d) {
      const T* x = op.x.as<T>() + first;
      T* y = op.y.as<T>() + first;
      float most = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : most)
      for (int64_t i = 0; i < d; ++i) most = most < widen(x[i]) ? widen(x[i]) : most;
      const float sum = static_cast<float>(
          sum_terms(0, d, [=](int64_t i) { return static_cast<double>(exp_falling_f32(widen(x[i]) - most)); }));
#pragma omp simd
      for (int64_t i = 0; i < d; ++i) y[i] = convert<T>(exp_falling_f32(widen(x[i]) - most) / sum);
    });
  });
}

void softmax_backward(Stream& stream, const SoftmaxBackward& op) {
  if (op.y.size() == 0) return;
  with_float(op.y.dtype, [&](auto type) {
    using T = decltype(type);
    for_rows(stream, op.y, 2, [&](int64_t first, int64_t d) {
      const T *dy = op.dy.as<T>() + first, *y = op.y.as<T>() + first;
      T* dx = op.dx.as<T>() + first;
      const float mean = static_cast<float>(sum_terms(
          0, d, [=](int64_t i) { return static_cast<double>(widen(dy[i])) * static_cast<double>(widen(y[i])); }));
#pragma omp simd
      for (int64_t i = 0; i < d; ++i) dx[i] = convert<T>(widen(y[i]) * (widen(dy[i]) - mean));
    });
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
