// Moving data without arithmetic (core/ops/layout.h).
#include "core/ops/layout.h"

#include <cstring>

#include "cpu/float_types.h"
#include "cpu/ops.h"
#include "cpu/parallel.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

template <class From>
void cast_from(const Stream& stream, const View& x, const View& y) {
  switch (y.dtype) {
    case DType::f32:
      return convert_elements(stream, x.as<From>(), x.size(), y.f32());
    case DType::bf16:
      return convert_elements(stream, x.as<From>(), x.size(), y.as<Bf16>());
    case DType::u8:
      return convert_elements(stream, x.as<From>(), x.size(), y.as<uint8_t>());
    case DType::i32:
      return convert_elements(stream, x.as<From>(), x.size(), y.i32());
  }
}

// y[..., i, j] = x[..., j, i] in tiles, where x is contiguous along i and y along j; a, b are the two other axes of y.
template <class T>
void permute_elements(const Stream& stream, const View& x, const View& y, const int32_t (&p)[4]) {
  int64_t x_stride[4] = {0, 0, 0, 1}, from[4], to[4] = {0, 0, 0, 1};
  for (int axis = 2; axis >= 0; --axis) {
    x_stride[axis] = x_stride[axis + 1] * x.shape[axis + 1];
    to[axis] = to[axis + 1] * y.shape[axis + 1];
  }
  for (int axis = 0; axis < 4; ++axis) from[axis] = x_stride[p[axis]];

  const int q = p[0] == 3 ? 0 : p[1] == 3 ? 1 : p[2] == 3 ? 2 : 3;  // the axis of y along which x is contiguous
  const int i_axis = q == 3 ? 2 : q;
  const int a_axis = i_axis == 0 ? 1 : 0, b_axis = 3 - i_axis - a_axis;
  const int64_t i_size = y.shape[i_axis], j_size = y.shape[3], b_size = y.shape[b_axis];
  constexpr int64_t kTile = 16;
  const int64_t strips = (i_size + kTile - 1) / kTile;
  parallel_for(stream, y.shape[a_axis] * b_size * strips, grain_of(std::min(kTile, i_size) * j_size),
               [&](int64_t begin, int64_t end) {
                 for (int64_t item = begin; item < end; ++item) {
                   const int64_t a = item / strips / b_size, b = item / strips % b_size;
                   const int64_t i_first = item % strips * kTile, i_last = std::min(i_size, i_first + kTile);
                   const T* source = x.as<T>() + a * from[a_axis] + b * from[b_axis];
                   T* target = y.as<T>() + a * to[a_axis] + b * to[b_axis];
                   if (q == 3) {
                     for (int64_t i = i_first; i < i_last; ++i)
                       std::memcpy(target + i * to[i_axis], source + i * from[i_axis], j_size * sizeof(T));
                     continue;
                   }
                   for (int64_t j_first = 0; j_first < j_size; j_first += kTile)
                     for (int64_t i = i_first; i < i_last; ++i)
                       for (int64_t j = j_first; j < std::min(j_size, j_first + kTile); ++j)
                         target[i * to[i_axis] + j] = source[i + j * from[3]];
                 }
               });
}

// Copies rows of `bytes` between two pitches.
void copy_rows(const Stream& stream, const void* from, int64_t from_pitch, void* to, int64_t to_pitch, int64_t bytes,
               int64_t rows) {
  parallel_for(stream, rows, grain_of(bytes / 4), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      std::memcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, bytes);
  });
}

template <class T>
void fill_elements(const Stream& stream, const View& y, T value) {
  parallel_elements(stream, y.size(),
                    [to = y.as<T>(), value](int64_t begin, int64_t end) { std::fill(to + begin, to + end, value); });
}

}  // namespace

void fill(Stream& stream, const Fill& op) {
  switch (op.y.dtype) {
    case DType::f32:
      return fill_elements(stream, op.y, op.value);
    case DType::bf16:
      return fill_elements(stream, op.y, convert<Bf16>(op.value));
    case DType::u8:
      return fill_elements(stream, op.y, convert<uint8_t>(op.value));
    case DType::i32:
      return fill_elements(stream, op.y, convert<int32_t>(op.value));
  }
}

void cast(Stream& stream, const Cast& op) {
  switch (op.x.dtype) {
    case DType::f32:
      return cast_from<float>(stream, op.x, op.y);
    case DType::bf16:
      return cast_from<Bf16>(stream, op.x, op.y);
    case DType::u8:
      return cast_from<uint8_t>(stream, op.x, op.y);
    case DType::i32:
      return cast_from<int32_t>(stream, op.x, op.y);
  }
}

void permute(Stream& stream, const Permute& op) {
  const int32_t p[4] = {op.p0, op.p1, op.p2, op.p3};
  if (op.x.size() == 0) return;
  switch (bytes_of(op.x.dtype)) {
    case 1:
      return permute_elements<uint8_t>(stream, op.x, op.y, p);
    case 2:
      return permute_elements<uint16_t>(stream, op.x, op.y, p);
    default:
      return permute_elements<uint32_t>(stream, op.x, op.y, p);
  }
}

void concat(Stream& stream, const Concat& op) {
  const auto width = static_cast<int64_t>(bytes_of(op.y.dtype));
  const int64_t a = op.a.channels() * width, b = op.b.channels() * width, rows = op.y.rows();
  copy_rows(stream, op.a.data, a, op.y.data, a + b, a, rows);
  copy_rows(stream, op.b.data, b, op.y.as<char>() + a, a + b, b, rows);
}

void split(Stream& stream, const Split& op) {
  const auto width = static_cast<int64_t>(bytes_of(op.y.dtype));
  const int64_t a = op.a.channels() * width, b = op.b.channels() * width, rows = op.y.rows();
  copy_rows(stream, op.y.data, a + b, op.a.data, a, a, rows);
  copy_rows(stream, op.y.as<char>() + a, a + b, op.b.data, b, b, rows);
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
