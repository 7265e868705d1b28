// Copying boxes, any element type: padding with a constant, cropping, and putting a smaller tensor into a larger one.
// Offsets count for the last axes; those of axes that the tensors lack (in front) are 0.
#pragma once

#include "core/ops/check.h"

namespace diffusion {

// y[i…] = x[i + offset…] where that is inside x, else `value`. Negative offsets pad in front, positive ones crop.
struct Pad {
  static constexpr const char* name = "pad";
  In x;
  Out y;
  float value;
  int32_t o0, o1, o2, o3, o4, o5;
  static constexpr auto fields =
      std::tuple{&Pad::x, &Pad::y, &Pad::value, &Pad::o0, &Pad::o1, &Pad::o2, &Pad::o3, &Pad::o4, &Pad::o5};
  int64_t untouched() const {  // what is cropped
    const int64_t offset[kMaxRank] = {o0, o1, o2, o3, o4, o5};
    int64_t read = static_cast<int64_t>(bytes_of(x.dtype));
    for (int axis = 0; axis < x.rank; ++axis) {
      const int64_t begin = offset[kMaxRank - x.rank + axis], end = begin + y.shape[axis];
      const int64_t first = begin > 0 ? begin : 0, last = end < x.shape[axis] ? end : x.shape[axis];
      read *= last > first ? last - first : 0;
    }
    return x.bytes() - read;
  }
  void check() const {
    require<Pad>(x.rank >= 1 && x.rank == y.rank && x.dtype == y.dtype, "x and y must have one rank and element type");
  }
};

// y[i + offset…] = x[i…]; the rest of y stays.
struct Place {
  static constexpr const char* name = "place";
  In x;
  InOut y;
  int32_t o0, o1, o2, o3, o4, o5;
  static constexpr auto fields =
      std::tuple{&Place::x, &Place::y, &Place::o0, &Place::o1, &Place::o2, &Place::o3, &Place::o4, &Place::o5};
  int64_t untouched() const { return 2 * y.bytes() - x.bytes(); }  // only the box is written, and nothing of y read
  void check() const {
    require<Place>(x.rank >= 1 && x.rank == y.rank && x.dtype == y.dtype,
                   "x and y must have one rank and element type");
    const int32_t offset[kMaxRank] = {o0, o1, o2, o3, o4, o5};
    for (int axis = 0; axis < x.rank; ++axis) {
      const int64_t first = offset[kMaxRank - x.rank + axis];
      require<Place>(first >= 0 && first + x.shape[axis] <= y.shape[axis], "x does not fit into y");
    }
  }
};

// Both as one copy of `from` to `to`, where from = to + offset, over as few axes as possible: whole axes of both that
// nothing is cut from are one with the axis in front of them. Filled up with ones in front.
struct BoxCopy {
  int64_t from[kMaxRank] = {1, 1, 1, 1, 1, 1}, to[kMaxRank] = {1, 1, 1, 1, 1, 1}, offset[kMaxRank] = {};
};

template <class Op>
BoxCopy box_copy(const Op& op, int64_t sign) {
  const int32_t offset[kMaxRank] = {op.o0, op.o1, op.o2, op.o3, op.o4, op.o5};
  BoxCopy box;
  int at = kMaxRank - 1;
  bool used = false;
  for (int axis = op.x.rank - 1; axis >= 0; --axis) {
    const int64_t from = op.x.shape[axis], to = op.y.shape[axis];
    const int64_t shift = sign * offset[kMaxRank - op.x.rank + axis];
    if (used && !(box.from[at] == box.to[at] && box.offset[at] == 0)) --at;  // an axis of its own
    const int64_t inner = box.to[at];
    box.from[at] = from * inner;
    box.to[at] = to * inner;
    box.offset[at] = shift * inner;
    used = true;
  }
  return box;
}

// Where row `row` of the axes of `to` in front of the last begins in `from`, in rows; −1 where it is outside.
DIFFUSION_HD int64_t source_row(const BoxCopy& box, int64_t row) {
  int64_t source = 0, step = 1;
  bool inside = true;
#if defined(__CUDACC__)
#pragma unroll
#endif
  for (int axis = kMaxRank - 2; axis >= 0; --axis) {
    const int64_t at = row % box.to[axis] + box.offset[axis];
    row /= box.to[axis];
    inside = inside && at >= 0 && at < box.from[axis];
    source += at * step;
    step *= box.from[axis];
  }
  return inside ? source : -1;
}

}  // namespace diffusion
