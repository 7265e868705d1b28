// Moving data without arithmetic (core/ops/layout.h).
//   fill, cast: a thread for every 16 bytes of the wider type       concat, split: a thread for every 16 bytes of a row
//   permute: a block for every tile of 32 × 32, through shared memory, so that reads and writes are both contiguous
//   bytes: the size of what is read and written, once each
#include "core/ops/layout.h"
#include "cuda/convert.cuh"
#include "cuda/elementwise.cuh"
#include "cuda/ops.h"
#include "cuda/words.cuh"

namespace diffusion::cuda {
namespace {

template <class T>
struct Constant {
  float value;
  DEVICE T operator()() const { return convert<T>(value); }
};

template <class To>
struct ConvertTo {
  template <class From>
  DEVICE To operator()(From x) const {
    return convert<To>(x);
  }
};

template <class From>
void cast_from(Stream& stream, const View& x, const View& y) {
  const auto to = [&](auto* data) {
    map(stream, Cast::name, y.size(), ConvertTo<std::remove_reference_t<decltype(*data)>>{}, data, x.as<From>());
  };
  switch (y.dtype) {
    case DType::f32:
      return to(y.f32());
    case DType::bf16:
      return to(y.as<Bf16>());
    case DType::u8:
      return to(y.as<uint8_t>());
    case DType::i32:
      return to(y.i32());
  }
}

// ---------------------------------------------------------------------------------------------------------- permute

constexpr int kTile = 32, kTileRows = 8, kPitch = kTile + 1;  // the odd pitch keeps columns off one bank

// y[a, b, i, j] = x[…] where y is contiguous along j, x along i; `from` and `to` are strides in elements. Where x is
// contiguous along j too, nothing is turned and the tiles only cut the work.
struct Tiles {
  int64_t a_size, b_size, i_size, j_size, i_tiles, j_tiles;
  int64_t from_a, from_b, from_i, from_j;
  int64_t to_a, to_b, to_i;
  bool turned;
};

// A block: one (a, b) and one tile of (i, j) at a time, in strides of the grid.
template <class T>
KERNEL(kTile* kTileRows)
permute_kernel(Tiles s, const T* x, T* y) {
  DYN_SMEM(T, tile);
  for (int64_t ab = blockIdx.y; ab < s.a_size * s.b_size; ab += gridDim.y) {
    const int64_t a = ab / s.b_size, b = ab % s.b_size;
    const T* source = x + a * s.from_a + b * s.from_b;
    T* target = y + a * s.to_a + b * s.to_b;
    for (int64_t item = blockIdx.x; item < s.i_tiles * s.j_tiles; item += gridDim.x) {
      const int64_t i_first = item / s.j_tiles * kTile, j_first = item % s.j_tiles * kTile;
      if (s.turned) {
        const int64_t i = i_first + threadIdx.x;
        for (int row = threadIdx.y; row < kTile; row += kTileRows)
          if (i < s.i_size && j_first + row < s.j_size)
            tile[row * kPitch + threadIdx.x] = source[i + (j_first + row) * s.from_j];
        __syncthreads();  // the tile is complete
      }
      const int64_t j = j_first + threadIdx.x;
      for (int row = threadIdx.y; row < kTile; row += kTileRows) {
        const int64_t i = i_first + row;
        if (i < s.i_size && j < s.j_size)
          target[i * s.to_i + j] = s.turned ? tile[threadIdx.x * kPitch + row] : source[i * s.from_i + j];
      }
      if (s.turned) __syncthreads();  // all have read before the next tile is written
    }
  }
}

Tiles tiles_of(const Permute& op) {
  const int32_t p[4] = {op.p0, op.p1, op.p2, op.p3};
  int64_t x_stride[4] = {0, 0, 0, 1}, from[4], to[4] = {0, 0, 0, 1};
  for (int axis = 2; axis >= 0; --axis) {
    x_stride[axis] = x_stride[axis + 1] * op.x.shape[axis + 1];
    to[axis] = to[axis + 1] * op.y.shape[axis + 1];
  }
  for (int axis = 0; axis < 4; ++axis) from[axis] = x_stride[p[axis]];
  const int contiguous = p[0] == 3 ? 0 : p[1] == 3 ? 1 : p[2] == 3 ? 2 : 3;  // the axis of y along which x is so
  const int i = contiguous == 3 ? 2 : contiguous, a = i == 0 ? 1 : 0, b = 3 - i - a;
  const auto& size = op.y.shape;
  const auto tiles = [](int64_t length) { return (length + kTile - 1) / kTile; };
  return {size[a], size[b], size[i], size[3], tiles(size[i]), tiles(size[3]), from[a],
          from[b], from[i], from[3], to[a],   to[b],          to[i],          contiguous != 3};
}

template <class T>
void permute_elements(Stream& stream, const Permute& op) {
  const Tiles s = tiles_of(op);
  const dim3 grid(static_cast<unsigned>(std::min<int64_t>(4096, s.i_tiles * s.j_tiles)),
                  static_cast<unsigned>(std::min<int64_t>(4096, s.a_size * s.b_size)));
  LAUNCH((permute_kernel<T>), grid, dim3(kTile, kTileRows), kTile * kPitch * sizeof(T), stream.handle, s, op.x.as<T>(),
         op.y.as<T>());
  check_launch(Permute::name);
}

// --------------------------------------------------------------------------------------------------- concat and split

// y [rows, A + B] = [a [rows, A], b [rows, B]], in words; `split` copies the other way.
template <class Word>
struct Joint {
  Word *a, *b, *y;
  int64_t a_width, b_width;
  bool split;

  DEVICE void operator()(int64_t row, int64_t column, int) const {
    Word* part = column < a_width ? a + row * a_width + column : b + row * b_width + (column - a_width);
    Word* joint = y + row * (a_width + b_width) + column;
    if (split)
      *part = *joint;
    else
      *joint = *part;
  }
};

template <class Op>
void join(Stream& stream, const Op& op, bool split) {
  if (op.y.size() == 0) return;
  const auto bytes = static_cast<int64_t>(bytes_of(op.y.dtype));
  with_word(row_bits(op.a) | row_bits(op.b) | row_bits(op.y), [&](auto t) {
    using Word = decltype(t);
    constexpr auto kBytes = static_cast<int64_t>(sizeof(Word));
    const int64_t a = op.a.channels() * bytes / kBytes, b = op.b.channels() * bytes / kBytes;
    for_runs<1>(stream, Op::name, op.y.rows(), a + b,
                Joint<Word>{op.a.template as<Word>(), op.b.template as<Word>(), op.y.template as<Word>(), a, b, split});
  });
}

}  // namespace

void fill(Stream& stream, const Fill& op) {
  const auto with = [&](auto* data) {
    map(stream, Fill::name, op.y.size(), Constant<std::remove_reference_t<decltype(*data)>>{op.value}, data);
  };
  switch (op.y.dtype) {
    case DType::f32:
      return with(op.y.f32());
    case DType::bf16:
      return with(op.y.as<Bf16>());
    case DType::u8:
      return with(op.y.as<uint8_t>());
    case DType::i32:
      return with(op.y.i32());
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
  if (op.x.size() == 0) return;
  switch (bytes_of(op.x.dtype)) {
    case 1:
      return permute_elements<uint8_t>(stream, op);
    case 2:
      return permute_elements<uint16_t>(stream, op);
    default:
      return permute_elements<uint32_t>(stream, op);
  }
}

void concat(Stream& stream, const Concat& op) { join(stream, op, false); }

void split(Stream& stream, const Split& op) { join(stream, op, true); }

}  // namespace diffusion::cuda
