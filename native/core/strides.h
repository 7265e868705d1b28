// How operands of one shape, some of them repeated along some axes, lie in memory: a walk over as few axes as possible.
#pragma once

#include "core/view.h"

namespace diffusion {

// Axes of `size`, outermost first; operand k moves by stride[k][axis] elements, 0 where it is repeated. Axes that all
// operands run through in one go are one axis, and axes of one element are none; there is at least one axis, and along
// the last one every stride is 0 or 1.
template <int kOperands>
struct Strides {
  int32_t rank = 0;
  int64_t size[kMaxRank] = {};
  int64_t stride[kOperands][kMaxRank] = {};

  // Of element `index` of the first `axes` axes.
  DIFFUSION_HD void offsets(int64_t index, int32_t axes, int64_t (&offset)[kOperands]) const {
    for (int k = 0; k < kOperands; ++k) offset[k] = 0;
#if defined(__CUDACC__)
#pragma unroll
#endif
    for (int axis = kMaxRank - 1; axis >= 0; --axis) {  // a constant bound keeps the arrays in a GPU's registers
      if (axis >= axes) continue;
      const int64_t at = index % size[axis];
      index /= size[axis];
      for (int k = 0; k < kOperands; ++k) offset[k] += at * stride[k][axis];
    }
  }
};

// Whether `small` repeated along axes of one element, and along axes that it lacks in front, has this shape.
inline bool repeats_to(const View& small, const int64_t* shape, int32_t rank) {
  if (small.rank > rank) return false;
  for (int i = 0; i < small.rank; ++i) {
    const int64_t axis = small.shape[i];
    if (axis != 1 && axis != shape[rank - small.rank + i]) return false;
  }
  return true;
}

// Operands that repeat to `shape`; absent ones do not move.
template <int kOperands>
Strides<kOperands> strides_of(const int64_t* shape, int32_t rank, const View* const (&operands)[kOperands]) {
  int64_t stride[kOperands][kMaxRank] = {};
  for (int k = 0; k < kOperands; ++k) {
    if (!*operands[k]) continue;
    int64_t step = 1;
    const int32_t missing = rank - operands[k]->rank;
    for (int axis = rank - 1; axis >= missing; --axis) {
      const int64_t length = operands[k]->shape[axis - missing];
      stride[k][axis] = length == 1 ? 0 : step;
      step *= length;
    }
  }
  Strides<kOperands> walk;
  for (int axis = 0; axis < rank; ++axis) {
    if (shape[axis] == 1) continue;
    bool joins = walk.rank > 0;
    for (int k = 0; k < kOperands; ++k) joins = joins && walk.stride[k][walk.rank - 1] == stride[k][axis] * shape[axis];
    if (joins)
      walk.size[walk.rank - 1] *= shape[axis];
    else
      walk.size[walk.rank++] = shape[axis];
    for (int k = 0; k < kOperands; ++k) walk.stride[k][walk.rank - 1] = stride[k][axis];
  }
  if (walk.rank == 0) {
    walk.rank = 1;
    walk.size[0] = 1;
  }
  return walk;
}

// Sums over some axes: `kept` and `reduced` are the axes of the walk without its last, which is `inner` elements long
// and kept (`columns`) or summed over. Operands: x, z, y. Blocks of what is summed, in an order that the shapes alone
// decide:
//   columns: block b of the summed axes holds block_rows rows, from b·block_rows on
//   else:    block b = r·pieces + p is piece p of row r where pieces > 1, else block_rows rows
struct ReducePlan {
  Strides<3> kept, reduced;
  int64_t outputs = 1, rows = 1, inner = 1;  // of kept, of reduced, of the last axis
  bool columns = false, z_moves = false;     // z_moves: along the last axis
  int64_t block_rows = 1, pieces = 1, piece = 1, blocks = 1;

  // Blocks of about so many elements; in columns of so many rows.
  ReducePlan(const View& x, const View& z, const View& y, int64_t block, int64_t column_rows) {
    const Strides<3> walk = strides_of<3>(x.shape, x.rank, {&x, &z, &y});
    const int32_t last = walk.rank - 1;
    const auto add = [&](Strides<3>& to, int32_t axis) {
      to.size[to.rank] = walk.size[axis];
      for (int k = 0; k < 3; ++k) to.stride[k][to.rank] = walk.stride[k][axis];
      ++to.rank;
    };
    for (int32_t axis = 0; axis < last; ++axis) {
      const bool keep = walk.stride[2][axis] != 0;
      add(keep ? kept : reduced, axis);
      (keep ? outputs : rows) *= walk.size[axis];
    }
    inner = walk.size[last];
    columns = walk.stride[2][last] != 0;
    z_moves = walk.stride[1][last] != 0;
    const auto parts = [](int64_t n, int64_t of) { return n <= of ? 1 : (n + of - 1) / of; };
    if (columns) {
      block_rows = column_rows;
      blocks = parts(rows, block_rows);
    } else {
      piece = inner < block ? (inner < 1 ? 1 : inner) : block;
      pieces = parts(inner, piece);
      block_rows = block / piece;
      blocks = pieces > 1 ? rows * pieces : parts(rows, block_rows);
    }
  }
};

}  // namespace diffusion
