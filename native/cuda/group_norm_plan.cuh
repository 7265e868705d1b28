// How group normalisation is cut into blocks: by the shape of one sample, so that a result does not depend on the
// batch.
//   A thread owns four channels (a quad) of y; `columns` quads side by side are a slab, `rows` pixels are read at a
//   time, kPixelsPerThread · rows pixels are a chunk. One block a (sample, chunk, slab). A quad is moved as 16 bytes
//   where C1 and C2 are multiples of four, value by value otherwise: the same sums either way.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/ops/group_norm.h"
#include "cuda/quad.cuh"
#include "cuda/simt.h"

namespace diffusion::cuda::group_norm_plan {

constexpr int kThreads = 256, kMostColumns = 32, kPixelsPerThread = 8;

// A tensor of C channels, or two side by side: C1 of `first`, then C − C1 of `second`.
struct Channels {
  float *first, *second;
  int c1, c;
  bool vector;

  explicit Channels(const View& x, const View& x2 = {})
      : first(x.f32()), second(x2.f32()), c1(static_cast<int>(x.channels())) {
    const auto aligned = [](const View& view) { return reinterpret_cast<uintptr_t>(view.data) % sizeof(Quad) == 0; };
    c = c1 + (x2 ? static_cast<int>(x2.channels()) : 0);
    vector = c1 % 4 == 0 && c % 4 == 0 && aligned(x) && aligned(x2);
  }
  // tensor[at, c] with at = n·pixels + pixel
  DEVICE float* address(int64_t at, int k) const {
    return k < c1 ? first + at * c1 + k : second + at * (c - c1) + (k - c1);
  }
};

struct Plan {
  int64_t samples, pixels, chunk, chunks, slabs;  // pixels: of a sample; chunk: pixels of one
  int64_t items;                                  // that blocks take
  int c, groups, columns, rows;

  Plan(const View& x, const View& x2, int groups) : groups(groups) {
    samples = x.shape[0];
    c = static_cast<int>(x.channels() + (x2 ? x2.channels() : 0));
    pixels = samples == 0 ? 0 : x.rows() / samples;
    const int quads = (c + 3) / 4;
    slabs = (quads + kMostColumns - 1) / kMostColumns;
    columns = static_cast<int>((quads + slabs - 1) / slabs);
    rows = kThreads / columns;
    chunk = int64_t{rows} * kPixelsPerThread;
    chunks = (pixels + chunk - 1) / chunk;
    items = samples * chunks * slabs;
  }

  size_t shared_bytes() const { return static_cast<size_t>(rows) * columns * 2 * sizeof(Quad); }
  size_t partials() const { return static_cast<size_t>(samples * chunks * 2 * c); }
};

inline unsigned grid_of(int64_t items) {
  return static_cast<unsigned>(std::clamp<int64_t>(items, 1, int64_t{1} << 30));
}

// What a thread works on: channels c … c + 3 of the pixels first + row, first + row + rows, … below last.
struct Place {
  int64_t n, block, first, last;  // block = n·chunks + chunk
  int column, row, c;
  bool active;

  DEVICE Place(const Plan& plan, int64_t item) {
    block = item / plan.slabs;
    n = block / plan.chunks;
    first = block % plan.chunks * plan.chunk;
    last = first + plan.chunk < plan.pixels ? first + plan.chunk : plan.pixels;
    const int thread = static_cast<int>(threadIdx.x);
    column = thread % plan.columns;
    row = thread / plan.columns;
    c = static_cast<int>(item % plan.slabs) * plan.columns * 4 + column * 4;
    active = row < plan.rows && c < plan.c;
  }
};

// tensor[at, c … c + 3], zero beyond the last channel.
DEVICE Quad load(const Channels& tensor, int64_t at, int c) {
  if (tensor.vector) return *reinterpret_cast<const Quad*>(tensor.address(at, c));
  Quad quad;
  for (int i = 0; i < 4; ++i)
    if (c + i < tensor.c) quad.at[i] = *tensor.address(at, c + i);
  return quad;
}

DEVICE void store(const Channels& tensor, int64_t at, int c, const Quad& quad) {
  if (tensor.vector) {
    *reinterpret_cast<Quad*>(tensor.address(at, c)) = quad;
    return;
  }
  for (int i = 0; i < 4; ++i)
    if (c + i < tensor.c) *tensor.address(at, c + i) = quad.at[i];
}

// f(channel, Σ a, Σ b) over the rows of the block, in their order, by one thread a channel. Every thread calls it; it
// may be called again at once.
template <class F>
DEVICE void sum_rows(const Plan& plan, const Place& place, const Quad& a, const Quad& b, F f) {
  DYN_SMEM(Quad, shared);  // [rows, columns, {a, b}]
  if (place.row < plan.rows) {
    const int at = (place.row * plan.columns + place.column) * 2;
    shared[at] = a;
    shared[at + 1] = b;
  }
  __syncthreads();
  const int column = static_cast<int>(threadIdx.x) / 4, i = static_cast<int>(threadIdx.x) % 4;
  const int c = place.c + (column - place.column) * 4 + i;
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
