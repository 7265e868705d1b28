// One kernel for all maps of elements: y[i] = f(x[i]…), four elements a thread, any element types; y may be one of x.
#pragma once

#include "cuda/runs.cuh"

namespace diffusion::cuda {

template <class F, class To, class... From>
KERNEL(kRunThreads)
map_kernel(F f, int64_t size, bool whole, To* to, const From*... from) {
  const int64_t stride = 4ll * gridDim.x * blockDim.x;
  const auto four = [&f](const Four<From>&... x) {
    Four<To> y;
    for (int k = 0; k < 4; ++k) y.at[k] = f(x.at[k]...);
    return y;
  };
  for (int64_t i = 4 * (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x); i < size; i += stride) {
    const int count = static_cast<int>(size - i < 4 ? size - i : 4);
    store(to + i, count, whole, four(load(from + i, count, whole)...));
  }
}

// f is a device functor: To f(From…). In the last run it is also given zeros, whose results are dropped.
template <class F, class To, class... From>
void map(Stream& stream, const char* operation, int64_t size, const F& f, To* to, const From*... from) {
  if (size == 0) return;
  const RunShape shape = run_shape(1, size);
  const bool whole = whole_runs(1, size, to, from...);
  LAUNCH((map_kernel<F, To, From...>), shape.grid, shape.block, 0, stream.handle, f, size, whole, to, from...);
  check_launch(operation);
}

}  // namespace diffusion::cuda
