// Matrix product on tensor cores whose operands are gathered from images.
//
//   C[i, j] = Σ_d A[i, d] · B[d, j]      rows × columns, summed over depth; bf16, sums in f32
//
// A block makes a tile of C (mma_tile.cuh) from slabs of 32 depths, four of them in shared memory: while one is
// multiplied the next three are being copied. Grid: x tiles, columns fastest (neighbours share rows of A); y and z
// phases (independent products that an operation consists of, as many in each direction) and, within z, parts of the
// depth, whose sums go to scratch and are added in order afterwards. Parts depend on the shape of the product alone;
// there are no atomics.
//
// Bytes: per slab and block 64 · kLines read for each operand, mostly from the L2 cache; C is written once.
//
// `Operands` walk through both matrices:
//   kAlongA, kAlongB              the order of their chunks (mma_tile.cuh)
//   depth(phase)                  of the product
//   begin(phase, row, column, depth, a, b)   a thread's position, given its first line and depth of either operand
//                                            (Share); `row` and `column` are those of the tile
//   copy<wide>(cursor, a, b, a_second, b_second)   two chunks of each into shared memory, zeros for what does not
//   exist;
//                                            the cursor moves on by one slab. wide: chunks are whole and aligned
// `Write` says what becomes of sums:
//   constants(column)                  what all rows have in common; columns in eights
//   ahead(phase, row, column)          reads what belongs to eight sums before any of them is written
//   write(ahead, column, constants, eight)   may change the sums to what the statistics shall see
//   kStatistics, statistics(…)         whether and where the sums over every 64 rows, and their squares, are wanted
//   kColumnSums, column_sums           whether and where the sums of B over its depth are wanted
#pragma once

#include <algorithm>

#include "cuda/mma_tile.cuh"
#include "cuda/runtime/stream.h"

namespace diffusion::cuda {

// Sums of parts of the depth: [parts][phases][rows][pitch] f32; absent: nothing is split. There are steps² phases.
struct Partials {
  float* data;
  int parts, steps;
  int64_t span, rows, pitch;  // span: depths of a part

  DEVICE float* at(int part, int phase, int64_t row, int64_t column) const {
    return data + ((static_cast<int64_t>(part) * steps * steps + phase) * rows + row) * pitch + column;
  }
};

// Σ and Σ² over 64 rows out of what `lanes` threads found, each in every lanes-th row: [column][2] at `to`.
template <class Tile, class Write>
DEVICE void write_statistics(float* shared, const Write& write, int phase, int64_t row0, int64_t column0,
                             int64_t columns) {
  constexpr int kLanes = Tile::kThreads / Tile::kAcross;
  for (int i = threadIdx.x; i < Tile::kLines / 64 * Tile::kLines * 2; i += Tile::kThreads) {
    const int which = i % 2, column = i / 2 % Tile::kLines, group = i / 2 / Tile::kLines;
    float sum = 0;
#pragma unroll 4
    for (int lane = 0; lane < kLanes; ++lane) sum += *staged<Tile>(shared, 64 * group + which * kLanes + lane, column);
    if (column0 + column < columns && row0 + 64 * group < write.rows)
      write.statistics(phase, row0 + 64 * group, column0 + column)[which] = sum;
  }
}

template <class Tile, class Write>
DEVICE void write_tile(float* shared, const Write& write, const Partials& partials, int part, int phase, int64_t row0,
                       int64_t column0, int64_t rows, int64_t columns) {
  constexpr int kLanes = Tile::kThreads / Tile::kAcross, kRowsOfLane = 64 / kLanes;
  const int thread = threadIdx.x, lane = thread / Tile::kAcross, mine = thread % Tile::kAcross * kChunk;
  const int64_t column = column0 + mine;
  const Eight constant = write.constants(column);
#pragma unroll 1
  for (int group = 0; group < Tile::kLines / 64; ++group) {
    const int64_t first = row0 + 64 * group + lane;
    typename Write::Ahead ahead[kRowsOfLane] = {};
    if (!partials.data) {
#pragma unroll
      for (int i = 0; i < kRowsOfLane; ++i)
        if (first + kLanes * i < rows && column < columns) ahead[i] = write.ahead(phase, first + kLanes * i, column);
    }
    Eight total = {}, squares = {};
#pragma unroll
    for (int i = 0; i < kRowsOfLane; ++i) {
      const int64_t row = first + kLanes * i;
      if (row >= rows || column >= columns) continue;
      Eight sum = staged_eight<Tile>(shared, 64 * group + kLanes * i + lane, mine);
      if (partials.data) {
        write_eight(partials.at(part, phase, row, column), sum, kChunk, true);
        continue;
      }
      write(ahead[i], column, constant, sum);
      if constexpr (Write::kStatistics) {
#pragma unroll
        for (int e = 0; e < kChunk; ++e) {
          total.at[e] += sum.at[e];
          squares.at[e] += sum.at[e] * sum.at[e];
        }
      }
    }
    if constexpr (Write::kStatistics) {
      if (write.sums && !partials.data) {  // into the places of sums that this thread alone has read
        write_eight_staged<Tile>(shared, 64 * group + lane, mine, total);
        write_eight_staged<Tile>(shared, 64 * group + kLanes + lane, mine, squares);
      }
    }
  }
  if constexpr (Write::kStatistics) {
    if (write.sums && !partials.data) {
      __syncthreads();
      write_statistics<Tile>(shared, write, phase, row0, column0, columns);
    }
  }
}

template <class Tile, bool kWide, class Operands, class Write>
KERNEL(Tile::kThreads, Tile::kBlocks)
mma_gemm_kernel(Operands operands, Write write, Partials partials, int64_t rows, int64_t columns) {
  DYN_SMEM(Chunk, shared);  // [kStages][A, B][kOperand], in the end f32 sums [kLines][kLines]; ColumnSums
  constexpr int kStages = Tile::kStages, kOperand = Tile::kOperand;
  const int64_t across = (columns + Tile::kLines - 1) / Tile::kLines;
  const int64_t row0 = blockIdx.x / across * Tile::kLines, column0 = blockIdx.x % across * Tile::kLines;
  const int phase = blockIdx.y * partials.steps + blockIdx.z / partials.parts, part = blockIdx.z % partials.parts;
  const int64_t first = part * partials.span, end = operands.depth(phase);
  const int64_t length = end - first < partials.span ? end - first : partials.span;
  const int slabs = length > 0 ? static_cast<int>((length + Tile::kDepth - 1) / Tile::kDepth) : 0;

  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const auto a = Tile::template share<Operands::kAlongA>(thread);
  const auto b = Tile::template share<Operands::kAlongB>(thread);
  auto cursor = operands.begin(phase, row0, column0, first, a, b);
  const auto copy = [&](int slab) {
    Chunk* const stage = shared + slab % kStages * 2 * kOperand;
    operands.template copy<kWide>(cursor, stage + a.at, stage + kOperand + b.at, a.second, b.second);
  };
#pragma unroll 1
  for (int slab = 0; slab < kStages - 1; ++slab) {
    if (slab < slabs) copy(slab);
    cp_async_commit();
  }

  const int warp_row = warp % 2 * Tile::kWarpRows, warp_column = warp / 2 * Tile::kWarpColumns;
  Sums<Tile> sums;
  const ColumnSums<Tile> column_sums{reinterpret_cast<FourFloats*>(shared + kStages * 2 * kOperand)};
  bool sum_columns = false;
  if constexpr (Write::kColumnSums) {
    sum_columns = write.column_sums && row0 == 0;
    if (sum_columns) column_sums.clear();
  }
#pragma unroll 1
  for (int slab = 0; slab < slabs; ++slab) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // this slab is there for all, and all have done with the one before
    if (slab + kStages - 1 < slabs) copy(slab + kStages - 1);
    cp_async_commit();
    const Chunk* const stage = shared + slab % kStages * 2 * kOperand;
    sums.template multiply<Operands::kAlongA, Operands::kAlongB>(stage, stage + kOperand, warp_row, warp_column, lane);
    if constexpr (Write::kColumnSums)
      if (sum_columns) column_sums.add(stage + kOperand, b.at, b.second);
  }
  cp_async_wait<0>();
  __syncthreads();

  float* const results = reinterpret_cast<float*>(shared);
  if constexpr (Write::kColumnSums)
    if (sum_columns)
      column_sums.write(write.column_sums_of(part, phase, partials.steps * partials.steps) + column0,
                        columns - column0);
  stage(results, sums, warp_row, warp_column, lane);
  __syncthreads();
  write_tile<Tile>(results, write, partials, part, phase, row0, column0, rows, columns);
}

// How a product is cut up.
struct Cut {
  bool large;  // tiles of 128 × 128, else 64 × 64
  int64_t parts, span;
};

inline int64_t tiles_of(int64_t rows, int64_t columns, int64_t lines) {
  return ((rows + lines - 1) / lines) * ((columns + lines - 1) / lines);
}

// The depth is cut only where there are fewer tiles than `least`, into 128 parts at most, none shorter than `shortest`,
// or where an int could not count it.
inline Cut cut_product(int64_t rows, int64_t columns, int64_t depth, int64_t phases, bool wide, int64_t least,
                       int64_t shortest, bool prefer_large) {
  constexpr int64_t kSlab = 32, kMost = 128, kLongest = 1 << 29;
  const int64_t large_tiles = tiles_of(rows, columns, 128) * phases;
  const bool large = wide && columns > 64 && rows > 64 && (prefer_large || large_tiles >= least);
  const int64_t tiles = large ? large_tiles : tiles_of(rows, columns, 64) * phases;
  const int64_t wanted = tiles >= least ? 1 : 2 * least / tiles;
  const int64_t parts = std::max(std::min({wanted, depth / shortest, kMost}), depth / kLongest + 1);
  const int64_t span = std::max<int64_t>(((depth + parts - 1) / parts + kSlab - 1) / kSlab, 1) * kSlab;
  return {large, std::max<int64_t>((depth + span - 1) / span, 1), span};
}

template <class Tile, bool kWide, class Operands, class Write>
void launch_mma_gemm(Stream& stream, const char* operation, const Operands& operands, const Write& write,
                     const Partials& partials, int64_t rows, int64_t columns) {
  const auto kernel = mma_gemm_kernel<Tile, kWide, Operands, Write>;
  constexpr int kBytes = Tile::kSharedBytes + (Write::kColumnSums ? ColumnSums<Tile>::kBytes : 0);
  if constexpr (kBytes > 48 * 1024)
    check(operation, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  const dim3 grid(static_cast<unsigned>(tiles_of(rows, columns, Tile::kLines)), static_cast<unsigned>(partials.steps),
                  static_cast<unsigned>(partials.steps * partials.parts));
  LAUNCH((kernel), grid, dim3(Tile::kThreads), kBytes, stream.handle, operands, write, partials, rows, columns);
  check_launch(operation);
}

// `wide`: all chunks of both operands are whole and aligned.
template <class Operands, class Write>
void mma_gemm(Stream& stream, const char* operation, const Operands& operands, const Write& write,
              const Partials& partials, int64_t rows, int64_t columns, bool large, bool wide) {
  if (large)
    launch_mma_gemm<Tile<128>, true>(stream, operation, operands, write, partials, rows, columns);
  else if (wide)
    launch_mma_gemm<Tile<64>, true>(stream, operation, operands, write, partials, rows, columns);
  else
    launch_mma_gemm<Tile<64>, false>(stream, operation, operands, write, partials, rows, columns);
}

}  // namespace diffusion::cuda
