// Softmax over the last axis (core/ops/softmax.h).
//   x, y, dy, dx [M, D], f32 or bf16 with arithmetic in f32
//   a warp for every row, a block from 2048 elements on; 16 bytes a thread; exponentials are computed twice
//   bytes: every operand once from memory, x twice more and dy and y once more from the caches
#include "core/ops/softmax.h"
#include "cuda/dispatch.cuh"
#include "cuda/ops.h"
#include "cuda/row_team.cuh"

namespace diffusion::cuda {
namespace {

template <class T>
struct Normalise {
  static constexpr int n = kPack<T>;
  const T* x;
  T* y;
  int64_t width;
  bool whole;

  template <class Team>
  DEVICE void operator()(const Team& team, int64_t row) const {
    const T* const from = x + row * width;
    T* const to = y + row * width;
    float most = -INFINITY;
    team.template for_runs<n>(width, [&](int64_t i, int count) {
      const Pack<float, n> pack = load_floats<n>(from + i, count, whole);
      for (int k = 0; k < n; ++k)
        if (k < count) most = fmaxf(most, pack.at[k]);
    });
    most = team.max(most);
    double sum = 0.0;
    team.template for_runs<n>(width, [&](int64_t i, int count) {
      const Pack<float, n> pack = load_floats<n>(from + i, count, whole);
      float part = 0.0f;
      for (int k = 0; k < n; ++k)
        if (k < count) part += expf(pack.at[k] - most);
      sum += static_cast<double>(part);
    });
    const auto total = static_cast<float>(team.sum(sum));
    team.template for_runs<n>(width, [&](int64_t i, int count) {
      Pack<float, n> pack = load_floats<n>(from + i, count, whole);
      for (int k = 0; k < n; ++k) pack.at[k] = expf(pack.at[k] - most) / total;
      store(to + i, count, whole, pack);
    });
  }
};

template <class T>
struct Differentiate {
  static constexpr int n = kPack<T>;
  const T *dy, *y;
  T* dx;
  int64_t width;
  bool whole;

  template <class Team>
  DEVICE void operator()(const Team& team, int64_t row) const {
    const int64_t first = row * width;
    double sum = 0.0;
    team.template for_runs<n>(width, [&](int64_t i, int count) {
      const Pack<float, n> gradient = load_floats<n>(dy + first + i, count, whole);
      const Pack<float, n> value = load_floats<n>(y + first + i, count, whole);
      for (int k = 0; k < n; ++k) sum += static_cast<double>(gradient.at[k]) * static_cast<double>(value.at[k]);
    });
    const auto mean = static_cast<float>(team.sum(sum));
    team.template for_runs<n>(width, [&](int64_t i, int count) {
      const Pack<float, n> gradient = load_floats<n>(dy + first + i, count, whole);
      Pack<float, n> value = load_floats<n>(y + first + i, count, whole);
      for (int k = 0; k < n; ++k) value.at[k] *= gradient.at[k] - mean;
      store(dx + first + i, count, whole, value);
    });
  }
};

}  // namespace

void softmax(Stream& stream, const Softmax& op) {
  if (op.x.size() == 0) return;
  with_float(op.x.dtype, [&](auto type) {
    using T = decltype(type);
    const T *x = op.x.as<T>(), *y = op.y.as<T>();
    const int64_t width = op.x.channels();
    for_teams(stream, Softmax::name, op.x.rows(), width,
              Normalise<T>{x, op.y.as<T>(), width, whole_rows<kPack<T>>(width, x, y)});
  });
}

void softmax_backward(Stream& stream, const SoftmaxBackward& op) {
  if (op.y.size() == 0) return;
  with_float(op.y.dtype, [&](auto type) {
    using T = decltype(type);
    const T *dy = op.dy.as<T>(), *y = op.y.as<T>(), *dx = op.dx.as<T>();
    const int64_t width = op.y.channels();
    for_teams(stream, SoftmaxBackward::name, op.y.rows(), width,
              Differentiate<T>{dy, y, op.dx.as<T>(), width, whole_rows<kPack<T>>(width, dy, y, dx)});
  });
}

}  // namespace diffusion::cuda
