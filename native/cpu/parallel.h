// Loops over the executor's OpenMP team.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "cpu/runtime/stream.h"

namespace diffusion::cpu::DIFFUSION_ISA {

// Elements of simple work below which waking the team (5 to 10 µs) costs more than it saves.
inline constexpr int64_t kGrain = 16384;

// Items of `elements` each that make one grain.
inline int64_t grain_of(int64_t elements) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, elements)); }

// Out of line, so that the serial and the parallel path below run the same vectorised code.
template <class F>
__attribute__((noinline)) void call(const F& f, int64_t begin, int64_t end) {
  f(begin, end);
}

// f(begin, end) over a static partition of [0, n), in this thread alone when n is below two grains. f must give the
// same results for every partition, and must not throw.
template <class F>
void parallel_for(const Stream& stream, int64_t n, int64_t grain, const F& f) {
  if (n <= 0) return;
  if (stream.threads == 1 || n < 2 * grain) {
    call(f, 0, n);
    return;
  }
  // Always the whole team: libgomp ends and restarts threads when the size changes.
#pragma omp parallel num_threads(stream.threads)
  {
    const int64_t part = omp_get_thread_num();
    const int64_t parts = omp_get_num_threads();
    const int64_t begin = n * part / parts;
    const int64_t end = n * (part + 1) / parts;
    if (begin < end) call(f, begin, end);
  }
}

// The same over elements that one pass maps independently; borders lie between cache lines.
template <class F>
void parallel_elements(const Stream& stream, int64_t n, const F& f) {
  constexpr int64_t kLine = 64;
  parallel_for(stream, (n + kLine - 1) / kLine, kGrain / kLine,
               [&](int64_t begin, int64_t end) { f(begin * kLine, std::min(n, end * kLine)); });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
