// Copying boxes (core/ops/pad.h): rows of the last axis, of the result for a padded one, of the smaller tensor for one
// that is put into another.
#include "core/ops/pad.h"

#include <algorithm>
#include <cstring>

#include "cpu/convert.h"
#include "cpu/ops.h"
#include "cpu/parallel.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

int64_t rows_of(const int64_t (&size)[kMaxRank]) {
  int64_t rows = 1;
  for (int axis = 0; axis < kMaxRank - 1; ++axis) rows *= size[axis];
  return rows;
}

template <class T>
void pad_elements(const Stream& stream, const Pad& op, T value) {
  const BoxCopy box = box_copy(op, 1);
  const int64_t from_width = box.from[kMaxRank - 1], width = box.to[kMaxRank - 1], shift = box.offset[kMaxRank - 1];
  const int64_t first = std::clamp<int64_t>(-shift, 0, width);
  const int64_t last = std::clamp<int64_t>(from_width - shift, first, width);  // what lies inside x
  parallel_for(stream, rows_of(box.to), grain_of(width), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      T* y = op.y.as<T>() + row * width;
      const int64_t source = source_row(box, row);
      if (source < 0 || first == last) {
        std::fill(y, y + width, value);
        continue;
      }
      std::fill(y, y + first, value);
      std::memcpy(y + first, op.x.as<T>() + source * from_width + first + shift, (last - first) * sizeof(T));
      std::fill(y + last, y + width, value);
    }
  });
}

}  // namespace

void pad(Stream& stream, const Pad& op) {
  if (op.y.size() == 0) return;
  switch (op.y.dtype) {
    case DType::f32:
      return pad_elements<float>(stream, op, op.value);
    case DType::bf16:
      return pad_elements<Bf16>(stream, op, convert<Bf16>(op.value));
    case DType::u8:
      return pad_elements<uint8_t>(stream, op, convert<uint8_t>(op.value));
    case DType::i32:
      return pad_elements<int32_t>(stream, op, convert<int32_t>(op.value));
  }
}

void place(Stream& stream, const Place& op) {
  if (op.x.size() == 0) return;
  BoxCopy box = box_copy(op, -1);
  // Seen from x: the rows of y that its own go to.
  std::swap(box.from, box.to);
  for (int64_t& offset : box.offset) offset = -offset;
  const auto bytes = static_cast<int64_t>(bytes_of(op.x.dtype));
  const int64_t width = box.to[kMaxRank - 1] * bytes, pitch = box.from[kMaxRank - 1] * bytes;
  const int64_t shift = box.offset[kMaxRank - 1] * bytes;
  parallel_for(stream, rows_of(box.to), grain_of(width / 4), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      std::memcpy(op.y.as<char>() + source_row(box, row) * pitch + shift, op.x.as<char>() + row * width, width);
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
