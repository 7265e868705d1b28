// How group normalisation is cut into blocks: by the shape of one sample, so that a result does not depend on the
// batch.
//   A thread owns a pack of neighbouring channels of y, 16 bytes of them (four of f32, eight of bf16); `columns` packs
//   side by side are a slab, `rows` pixels are read at a time, kPixelsPerThread · rows pixels are a chunk. One block a
//   (sample, chunk, slab). A pack is moved at once where C1 and C2 are whole packs, value by value otherwise: the same
//   sums either way.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/ops/group_norm.h"
#include "cuda/pack.cuh"
#include "cuda/simt.h"

namespace diffusion::cuda::group_norm_plan {

constexpr int kThreads = 256, kMostColumns = 32, kPixelsPerThread = 8;

template <class T>
using Values = Pack<float, kPack<T>>;  // of a thread at one pixel, in registers

// A tensor of C channels, or two side by side: C1 of `first`, then C − C1 of `second`.
template <class T>
struct Channels {
  static constexpr int n = kPack<T>;
  T *first, *second;
  int c1, c;
  bool vector;

  explicit Channels(const View& x, const View& x2 = {})
      : first(x.as<T>()), second(x2.as<T>()), c1(static_cast<int>(x.channels())) {
    const auto aligned = [](const View& view) { return reinterpret_cast<uintptr_t>(view.data) % 16 == 0; };
    c = c1 + (x2 ? static_cast<int>(x2.channels()) : 0);
    vector = c1 % n == 0 && c % n == 0 && aligned(x) && aligned(x2);
  }
  // tensor[at, k] with at = n·pixels + pixel
  DEVICE T* address(int64_t at, int k) const {
    return k < c1 ? first + at * c1 + k : second + at * (c - c1) + (k - c1);
  }
  // tensor[at, k … k + n − 1], zero beyond the last channel.
  DEVICE Values<T> load(int64_t at, int k) const {
    if (vector) return load_floats<n>(address(at, k), n, true);
    Values<T> values{};
    for (int i = 0; i < n; ++i)
      if (k + i < c) values.at[i] = to_float(*address(at, k + i));
    return values;
  }
  DEVICE void store(int64_t at, int k, const Values<T>& values) const {
    if (vector) return cuda::store(address(at, k), n, true, values);
    for (int i = 0; i < n; ++i)
      if (k + i < c) *address(at, k + i) = from_float<T>(values.at[i]);
  }
};

struct Plan {
  int64_t samples, pixels, chunk, chunks, slabs;  // pixels: of a sample; chunk: pixels of one
  int64_t items;                                  // that blocks take
  int c, groups, pack, columns, rows;             // pack: channels of a thread

  Plan(const View& x, const View& x2, int groups, int pack) : groups(groups), pack(pack) {
    samples = x.shape[0];
    c = static_cast<int>(x.channels() + (x2 ? x2.channels() : 0));
    pixels = samples == 0 ? 0 : x.rows() / samples;
    const int packs = (c + pack - 1) / pack;
    slabs = (packs + kMostColumns - 1) / kMostColumns;
    columns = static_cast<int>((packs + slabs - 1) / slabs);
    rows = kThreads / columns;
    chunk = int64_t{rows} * kPixelsPerThread;
    chunks = (pixels + chunk - 1) / chunk;
    items = samples * chunks * slabs;
  }

  size_t shared_bytes() const { return static_cast<size_t>(rows) * columns * pack * 2 * sizeof(float); }
  size_t partials() const { return static_cast<size_t>(samples * chunks * 2 * c); }
};

inline unsigned grid_of(int64_t items) {
  return static_cast<unsigned>(std::clamp<int64_t>(items, 1, int64_t{1} << 30));
}

// What a thread works on: channels c … c + pack − 1 of the pixels first + row, first + row + rows, … below last, which
// count through the whole batch.
template <int pack>
struct Place {
  int64_t n, block, first, last;  // block = n·chunks + chunk, of sample n
  int column, row, c;
  bool active;

  DEVICE Place(const Plan& plan, int64_t item) {
    block = item / plan.slabs;
    n = block / plan.chunks;
    const int64_t start = block % plan.chunks * plan.chunk, rest = plan.pixels - start;
    first = n * plan.pixels + start;
    last = first + (rest < plan.chunk ? rest : plan.chunk);
    const int thread = static_cast<int>(threadIdx.x);
    column = thread % plan.columns;
    row = thread / plan.columns;
    c = static_cast<int>(item % plan.slabs) * plan.columns * pack + column * pack;
    active = row < plan.rows && c < plan.c;
  }
  // The index of channel c of a pixel within the sample.
  DEVICE int64_t element(const Plan& plan, int64_t at) const { return (at - n * plan.pixels) * plan.c + c; }
};

// f(channel, Σ a, Σ b) over the rows of the block, in their order, by one thread a channel. Every thread calls it; it
// may be called again at once.
template <int n, class F>
DEVICE void sum_rows(const Plan& plan, const Place<n>& place, const Pack<float, n>& a, const Pack<float, n>& b, F f) {
  using Sums = Pack<float, n>;
  DYN_SMEM(Sums, shared);  // [rows, columns, {a, b}]
  if (place.row < plan.rows) {
    const int at = (place.row * plan.columns + place.column) * 2;
    shared[at] = a;
    shared[at + 1] = b;
  }
  __syncthreads();
  const int column = static_cast<int>(threadIdx.x) / n, i = static_cast<int>(threadIdx.x) % n;
  const int c = place.c + (column - place.column) * n + i;
  if (column < plan.columns && c < plan.c) {
    double sum_a = 0, sum_b = 0;
    for (int row = 0; row < plan.rows; ++row) {
      const int at = (row * plan.columns + column) * 2;
      sum_a += static_cast<double>(shared[at].at[i]);
      sum_b += static_cast<double>(shared[at + 1].at[i]);
    }
    f(c, sum_a, sum_b);
  }
  __syncthreads();  // before the next call writes
}

}  // namespace diffusion::cuda::group_norm_plan
