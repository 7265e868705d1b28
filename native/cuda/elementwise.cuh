// One kernel for all maps of elements: y[i] = f(x[i]…), 16 bytes of the widest type a thread; y may be one of x.
#pragma once

#include <type_traits>

#include "cuda/runs.cuh"

namespace diffusion::cuda {

// What f sees of an array: its elements, or f32 in arithmetic.
template <bool arithmetic, int n, class T>
DEVICE auto load_for(const T* from, int count, bool whole) {
  if constexpr (arithmetic)
    return load_floats<n>(from, count, whole);
  else
    return load<n>(from, count, whole);
}

template <bool arithmetic, class F, class To, class... From>
KERNEL(kRunThreads)
map_kernel(F f, int64_t size, bool whole, To* to, const From*... from) {
  constexpr int n = kPack<To, From...>;
  const int64_t stride = static_cast<int64_t>(n) * gridDim.x * blockDim.x;
  const auto all = [&f](const auto&... x) {
    Pack<decltype(f(x.at[0]...)), n> y;
    for (int k = 0; k < n; ++k) y.at[k] = f(x.at[k]...);
    return y;
  };
  for (int64_t i = n * (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x); i < size; i += stride) {
    const int count = static_cast<int>(size - i < n ? size - i : n);
    store(to + i, count, whole, all(load_for<arithmetic, n>(from + i, count, whole)...));
  }
}

template <bool arithmetic, class F, class To, class... From>
void launch_map(Stream& stream, const char* operation, int64_t size, const F& f, To* to, const From*... from) {
  if (size == 0) return;
  constexpr int n = kPack<To, From...>;
  const RunShape shape = run_shape(1, size, n);
  const bool whole = whole_runs<n>(1, size, to, from...);
  LAUNCH((map_kernel<arithmetic, F, To, From...>), shape.grid, shape.block, 0, stream.handle, f, size, whole, to,
         from...);
  check_launch(operation);
}

// f is a device functor: To f(From…). In the last run it is also given zeros, whose results are dropped.
template <class F, class To, class... From>
void map(Stream& stream, const char* operation, int64_t size, const F& f, To* to, const From*... from) {
  launch_map<false>(stream, operation, size, f, to, from...);
}

// The same with float f(float…) over arrays of f32 or of bf16, rounded once.
template <class F, class T, class... From>
void map_floats(Stream& stream, const char* operation, int64_t size, const F& f, T* to, const From*... from) {
  launch_map<true>(stream, operation, size, f, to, from...);
}

}  // namespace diffusion::cuda
