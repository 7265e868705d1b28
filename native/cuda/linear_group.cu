// Several affine maps of the same rows at once (core/ops/linear_group.h), with the products of gemm.cuh.
//
//   y_b      = x · weight_b + bias_b               rows N, columns K_b, depth C
//   dx       = Σ_b dy_b · weight_bᵀ                rows N, columns C, depth Σ K_b: in parts of neighbouring maps
//   dweight_b = xᵀ · dy_b,  dbias_b = 1ᵀ · dy_b    rows C and one more, columns K_b, depth N
//
// A block makes a tile of 64 × 64. Tiles of columns are counted through all maps, each map beginning with a new one:
// a grid has Σ K_b / 64 + B of them, which is enough, and a block looks up in `groups` which map it works for.
//
// Bytes: x, every weight and y once each when the caches hold what neighbouring tiles share. One launch forward;
// backward two for dx (parts, their sum) and one for all weights and biases. Scratch: slot 0 the parts of dx.
#include "core/ops/linear_group.h"
#include "cuda/gemm_parts.cuh"
#include "cuda/ops.h"

namespace diffusion::cuda {
namespace {

constexpr int64_t kGroupParts = 8;  // of dx, fixed so that a sample's bits do not depend on the batch

struct Maps {
  const int32_t* groups;
  int64_t count, n, c, size, total;  // `size` values, `total` columns

  Maps(const View& groups, const View& x, const View& values, const View& y)
      : groups(groups.i32()),
        count(groups.shape[0]),
        n(x.shape[0]),
        c(x.shape[1]),
        size(values.size()),
        total(y.size() / x.shape[0]) {}

  int64_t column_tiles() const { return total / kTile + count; }

  // The map that a tile of columns belongs to, and the tile's first column in it. False for a tile beyond the last map.
  DEVICE bool find(int64_t tile, LinearGroupMap& map, int64_t& column) const {
    int64_t first = 0;
    for (int64_t b = 0; b < count; ++b) {
      map = LinearGroupMap::read(groups, b, first);
      const int64_t tiles = (map.columns + kTile - 1) / kTile;
      if (tile < tiles) {
        column = tile * kTile;
        return map.fits(c, size, total);
      }
      tile -= tiles;
      first += map.columns;
    }
    return false;
  }
};

template <bool along>
DEVICE Matrix<along> matrix_at(const float* data, int64_t lines, int64_t pitch) {
  return {data, lines, pitch, can_be_wide(data, pitch)};
}

// Rows c < C: column c of x. Row C: ones.
struct ColumnsAndOnes {
  static constexpr bool kAlong = false;
  struct Cursor {
    Matrix<false>::Cursor at;
    int ones;  // which of the four rows
  };
  Matrix<false> x;

  DEVICE Cursor begin(int64_t line, int64_t depth, int64_t end) const {
    const int64_t ones = x.lines - line;
    return {x.begin(line, depth, end), ones >= 0 && ones < 4 ? static_cast<int>(ones) : -1};
  }
  DEVICE Quad next(Cursor& cursor) const {
    const float one = cursor.at.depth < cursor.at.end ? 1.0f : 0.0f;
    Quad q = x.next(cursor.at);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (i == cursor.ones) q.at[i] = one;
    return q;
  }
};

// write(row, column, four sums) for the thread's part of a tile.
template <class Write>
DEVICE void write_tile(const Quad (&total)[4], int64_t row0, int64_t rows, int64_t column0, int64_t columns,
                       const Write& write) {
  const int64_t row = row0 + threadIdx.x / 16 * 4, column = column0 + threadIdx.x % 16 * 4;
  if (column >= columns) return;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (row + i < rows) write(row + i, column, total[i]);
}

KERNEL(kGemmThreads)
forward_kernel(Maps maps, const float* x, const float* values, float* y) {
  DYN_SMEM(float, shared);
  const int64_t across = maps.total / kTile + maps.count, row0 = blockIdx.x / across * kTile;
  LinearGroupMap map;
  int64_t column0;
  if (!maps.find(blockIdx.x % across, map, column0)) return;
  Quad total[4] = {};
  const int64_t k = map.columns;
  add_tile(shared, matrix_at<true>(x, maps.n, maps.c), matrix_at<false>(values + map.weight, k, k), row0, column0, 0,
           maps.c, total);
  float* const to = y + maps.n * map.first;
  const float* const bias = values + map.bias;
  const bool wide = can_be_wide(to, k) && can_be_wide(bias, k);
  const WriteSum write{to, bias, nullptr, nullptr, k, 1, wide};
  write_tile(total, row0, maps.n, column0, k,
             [&](int64_t row, int64_t column, const Quad& sum) { write(0, row, column, sum); });
}

// grid: x tiles of dx, z parts: maps count·z/parts … count·(z + 1)/parts − 1 in order.
KERNEL(kGemmThreads)
data_kernel(Maps maps, const float* dy, const float* values, int64_t parts, float* to) {
  DYN_SMEM(float, shared);
  const int64_t across = (maps.c + kTile - 1) / kTile;
  const int64_t row0 = blockIdx.x / across * kTile, column0 = blockIdx.x % across * kTile;
  const int64_t begin = maps.count * blockIdx.z / parts, end = maps.count * (blockIdx.z + 1) / parts;
  Quad total[4] = {};
  int64_t first = 0;
  for (int64_t b = 0; b < end; ++b) {
    const LinearGroupMap map = LinearGroupMap::read(maps.groups, b, first);
    const int64_t k = map.columns;
    if (b >= begin && map.fits(maps.c, maps.size, maps.total))
      add_tile(shared, matrix_at<true>(dy + maps.n * first, maps.n, k), matrix_at<true>(values + map.weight, maps.c, k),
               row0, column0, 0, k, total);
    first += k;
  }
  const int64_t size = maps.n * maps.c;
  const WritePart write{to, maps.c, size, false, can_be_wide(to, maps.c) && size % 4 == 0};
  write_tile(total, row0, maps.n, column0, maps.c, [&](int64_t row, int64_t column, const Quad& sum) {
    write(static_cast<int>(blockIdx.z), row, column, sum);
  });
}

KERNEL(kGemmThreads)
weights_kernel(Maps maps, const float* x, const float* dy, bool accumulate, float* dvalues) {
  DYN_SMEM(float, shared);
  const int64_t across = maps.total / kTile + maps.count, row0 = blockIdx.x / across * kTile;
  LinearGroupMap map;
  int64_t column0;
  if (!maps.find(blockIdx.x % across, map, column0)) return;
  Quad total[4] = {};
  add_tile(shared, ColumnsAndOnes{matrix_at<false>(x, maps.c, maps.c)},
           matrix_at<false>(dy + maps.n * map.first, map.columns, map.columns), row0, column0, 0, maps.n, total);
  maps.find(blockIdx.x % across, map, column0);  // again, rather than keep it in registers
  const int64_t k = map.columns;
  float *const weight = dvalues + map.weight, *const bias = dvalues + map.bias;
  const bool wide = can_be_wide(weight, k) && can_be_wide(bias, k);
  write_tile(total, row0, maps.c + 1, column0, k, [&](int64_t row, int64_t column, const Quad& sum) {
    const WritePart write{row < maps.c ? weight + row * k : bias, k, 0, accumulate, wide};
    write(0, 0, column, sum);
  });
}

dim3 grid_of(int64_t rows, int64_t column_tiles, int64_t parts = 1) {
  return dim3(static_cast<unsigned>((rows + kTile - 1) / kTile * column_tiles), 1, static_cast<unsigned>(parts));
}

}  // namespace

void linear_group(Stream& stream, const LinearGroup& op) {
  const Maps maps(op.groups, op.x, op.values, op.y);
  LAUNCH(forward_kernel, grid_of(maps.n, maps.column_tiles()), dim3(kGemmThreads), kGemmShared, stream.handle, maps,
         op.x.f32(), op.values.f32(), op.y.f32());
  check_launch(LinearGroup::name);
}

void linear_group_backward_data(Stream& stream, const LinearGroupBackwardData& op) {
  const Maps maps(op.groups, op.dx, op.values, op.dy);
  const int64_t parts = std::clamp<int64_t>(maps.count, 1, kGroupParts), size = maps.n * maps.c;
  float* const scratch = stream.scratch_floats(0, static_cast<size_t>(parts * size));
  LAUNCH(data_kernel, grid_of(maps.n, (maps.c + kTile - 1) / kTile, parts), dim3(kGemmThreads), kGemmShared,
         stream.handle, maps, op.dy.f32(), op.values.f32(), parts, scratch);
  check_launch(LinearGroupBackwardData::name);
  add_parts(stream, LinearGroupBackwardData::name, scratch, parts, size, false, op.dx.f32());
}

void linear_group_backward_weights(Stream& stream, const LinearGroupBackwardWeights& op) {
  const Maps maps(op.groups, op.x, op.dvalues, op.dy);
  LAUNCH(weights_kernel, grid_of(maps.c + 1, maps.column_tiles()), dim3(kGemmThreads), kGemmShared, stream.handle, maps,
         op.x.f32(), op.dy.f32(), op.accumulate, op.dvalues.f32());
  check_launch(LinearGroupBackwardWeights::name);
}

}  // namespace diffusion::cuda
