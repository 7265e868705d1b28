// What attention's kernels share: which rows of q, k, v, … belong to a head, and how a launch is cut into blocks.
//   A block works on 64 rows of one head of one sample: queries for y and dq, keys for dk and dv.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "core/ops/attention.h"
#include "cuda/convert.cuh"
#include "cuda/runtime/stream.h"

namespace diffusion::cuda {

// One head of q, k, …: `rows` rows of `width` values; row i starts pitch elements after row i − 1.
template <class T>
struct Head {
  const T* data;
  int64_t rows, pitch;
  int width;
  bool vector;  // as many neighbours of a row as the kernels' vectors hold may be read at once
};

struct AttentionShape {
  static constexpr int kTile = 64;
  int64_t samples, l, heads, tiles, items;
  int d, groups;  // groups of columns, where a block's registers do not hold the result's whole width
  float scale;
  bool vector = false;
  int64_t first_item = 0;  // of a launch

  // `columns`: as wide a result as a block's registers hold.
  AttentionShape(const View& q, int64_t heads, float scale, int columns)
      : samples(q.shape[0]), l(q.shape[1]), heads(heads), d(static_cast<int>(q.shape[2] / heads)), scale(scale) {
    tiles = (l + kTile - 1) / kTile;
    groups = (d + columns - 1) / columns;
    items = samples * heads * tiles * groups;
  }
  // Whether `count` neighbours of a row can move as one vector in all of these tensors.
  void find_vectors(int count, std::initializer_list<View> tensors) {
    vector = d % count == 0;
    for (const View& view : tensors)
      vector = vector && reinterpret_cast<uintptr_t>(view.data) % (count * bytes_of(view.dtype)) == 0;
  }
  // Offset of a head in q …; `index` counts n·heads + h.
  DEVICE int64_t at(int64_t index) const { return (index / heads * l * heads + index % heads) * d; }
  template <class T>
  DEVICE Head<T> head(const T* x, int64_t index) const {
    return {x + at(index), l, heads * d, d, vector};
  }
};

// f(blocks) for launches with a block an item: mostly one, as a grid holds 2^31 − 1 blocks.
template <class F>
void launches(AttentionShape& s, const F& f) {
  constexpr int64_t kMost = int64_t{1} << 30;
  for (s.first_item = 0; s.first_item < s.items; s.first_item += kMost)
    f(static_cast<unsigned>(s.items - s.first_item < kMost ? s.items - s.first_item : kMost));
}

inline unsigned attention_grid(int64_t items) {
  return static_cast<unsigned>(items < 1 ? 1 : items < (1 << 30) ? items : 1 << 30);
}

// bf16 on tensor cores, for heads up to so wide; wider ones take the kernels of f32.
namespace attention_mma {
constexpr int kMaxWidth = 256;
void forward(Stream& stream, const Attention& op);
// delta [N, heads, L] = dy·y
void backward(Stream& stream, const AttentionBackward& op, const float* delta);
}  // namespace attention_mma

}  // namespace diffusion::cuda
