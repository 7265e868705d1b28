// Tiles of a matrix product on tensor cores: where they lie in shared memory, and their multiplication.
//
//   C[kLines, kLines] += A[kLines, kDepth] · B[kDepth, kLines]       operands bf16, sums f32
//
// kLines² sums are held by 2 · kLines threads: warps stand in two rows, each with kLines/2 × 32 sums, 32 or 64 a lane.
// A line is a row of A or a column of B. An operand comes in one of two orders, and lies so in shared memory, a chunk
// of eight elements being the unit:
//   along    [line][4 chunks of depth]; read with ldmatrix
//   across   [depth][kLines/8 chunks of lines]; read with ldmatrix.trans
// The chunks of a row change places (exclusive or with the row's number) so that the eight rows of an 8 × 8 matrix lie
// in different banks.
#pragma once

#include "cuda/mma_chunk.cuh"

namespace diffusion::cuda {

inline constexpr int kSlabDepth = 32;

// Large tiles that the shared memory of a multiprocessor holds.
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ == 860 || __CUDA_ARCH__ == 890 || __CUDA_ARCH__ >= 1200)
inline constexpr int kLargeTiles = 1;
#else
inline constexpr int kLargeTiles = 2;
#endif

template <int kLinesOfTile>
struct Tile {
  static constexpr int kLines = kLinesOfTile, kDepth = kSlabDepth, kThreads = 2 * kLines;
  static constexpr int kBlocks = kLines == 128 ? kLargeTiles : 4;  // to fit on a multiprocessor
  static constexpr int kWarpRows = kLines / 2, kWarpColumns = 32;  // of sums
  static constexpr int kM = kWarpRows / 16, kN = kWarpColumns / 8;
  static constexpr int kStages = 4;                                 // slabs of depth in shared memory
  static constexpr int kOperand = kLines * kDepth / kChunk;         // chunks
  static constexpr int kAcross = kLines / kChunk;                   // chunks of a depth of an operand in order `across`
  static constexpr int kSharedBytes = kStages * 2 * kOperand * 16;  // 32 or 64 KB; the sums fit into it too
  static_assert(kSharedBytes >= kLines * kLines * 4);
  static_assert(kOperand == 2 * kThreads &&
                kThreads / kAcross == kDepth / 2);  // a thread copies two chunks of each operand: `second` apart

  // Of the two chunks that a thread copies: where the first goes, and what it holds.
  struct Share {
    int at, second;       // in shared memory
    int line, line_step;  // its first line; from there to the second chunk's
    int depth, depth_step;
  };
  template <bool along>
  DEVICE static Share share(int thread) {
    if (along) {
      const int line = thread / 4, chunk = thread % 4;
      return {line * 4 + (chunk ^ (line / 2 % 4)), kThreads, line, kThreads / 4, chunk * kChunk, 0};
    }
    const int depth = thread / kAcross, chunk = thread % kAcross;
    return {depth * kAcross + (chunk ^ (depth % 8)), kThreads, chunk * kChunk, 0, depth, kThreads / kAcross};
  }
};

// 16 lines × 16 depths of A, for mma. `line`: a multiple of 16; `half` of the slab's depth.
template <class Tile, bool along>
DEVICE void load_a(uint32_t (&a)[4], const Chunk* operand, int line, int half, int lane) {
  if (along) {
    const int chunk = (2 * half + lane / 16) ^ (lane / 2 % 4);
    ldmatrix_x4(a, operand + (line + lane % 16) * 4 + chunk);
  } else {
    const int depth = 16 * half + lane % 8 + lane / 16 * 8;
    ldmatrix_x4_trans(a, operand + depth * Tile::kAcross + ((line / kChunk + lane / 8 % 2) ^ (lane % 8)));
  }
}

// 16 depths × 16 lines of B, for two mma.
template <class Tile, bool along>
DEVICE void load_b(uint32_t (&b)[4], const Chunk* operand, int line, int half, int lane) {
  if (along) {
    const int chunk = (2 * half + lane / 8 % 2) ^ (lane / 2 % 4);
    ldmatrix_x4(b, operand + (line + lane % 8 + lane / 16 * 8) * 4 + chunk);
  } else {
    const int depth = 16 * half + lane % 16;
    ldmatrix_x4_trans(b, operand + depth * Tile::kAcross + ((line / kChunk + lane / 16) ^ (lane % 8)));
  }
}

// The sums of a lane, as mma holds them: of the 16 × 8 sums [m][n], (row l/4, column 2 (l % 4)), its right neighbour,
// and the two eight rows below.
template <class Tile>
struct Sums {
  float at[Tile::kM][Tile::kN][4] = {};

  // One slab. The warp's sums start at row, column.
  template <bool a_along, bool b_along>
  DEVICE void multiply(const Chunk* a, const Chunk* b, int row, int column, int lane) {
#pragma unroll
    for (int half = 0; half < Tile::kDepth / 16; ++half) {
      uint32_t right[Tile::kN][2];
#pragma unroll
      for (int n = 0; n < Tile::kN; n += 2) {
        uint32_t both[4];
        load_b<Tile, b_along>(both, b, column + 8 * n, half, lane);
        right[n][0] = both[0], right[n][1] = both[1], right[n + 1][0] = both[2], right[n + 1][1] = both[3];
      }
#pragma unroll
      for (int m = 0; m < Tile::kM; ++m) {
        uint32_t left[4];
        load_a<Tile, a_along>(left, a, row + 16 * m, half, lane);
#pragma unroll
        for (int n = 0; n < Tile::kN; ++n) mma_bf16(at[m][n], left, right[n]);
      }
    }
  }
};

// Σ over the depth of B's columns, by the blocks of the first row of tiles: out of shared memory, slab by slab, and
// into it, since registers are short. [2][threads] of four sums.
template <class Tile>
struct ColumnSums {
  static constexpr int kBytes = 2 * Tile::kThreads * 16;
  FourFloats* sums;

  DEVICE void clear() const { sums[threadIdx.x] = sums[Tile::kThreads + threadIdx.x] = {}; }
  DEVICE void add(const Chunk* b, int at, int second) const {
    const Chunk first = b[at], other = b[at + second];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      FourFloats& sum = sums[half * Tile::kThreads + threadIdx.x];
      FourFloats four = sum;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint32_t x = first.words[2 * half + i], y = other.words[2 * half + i];
        four.at[2 * i] += bits_to_float(x << 16) + bits_to_float(y << 16);
        four.at[2 * i + 1] += bits_to_float(x & 0xFFFF0000u) + bits_to_float(y & 0xFFFF0000u);
      }
      sum = four;
    }
  }
  // After a barrier.
  DEVICE void write(float* to, int64_t columns) const {
    const int column = threadIdx.x;
    if (column >= Tile::kLines || column >= columns) return;
    float total = 0;
#pragma unroll
    for (int lane = 0; lane < Tile::kThreads / Tile::kAcross; ++lane)
      total += sums[column / 4 % 2 * Tile::kThreads + lane * Tile::kAcross + column / kChunk].at[column % 4];
    to[column] = total;
  }
};

// Sums in shared memory [kLines][kLines], where lanes that hold them in mma's order and threads that own eight of a
// row meet: groups of four columns change places, which spreads the eight rows of a store over the banks.
template <class Tile>
DEVICE float* staged(float* shared, int row, int column) {
  return shared + row * Tile::kLines + ((column / 4 ^ (row % 4 * 2)) * 4 + column % 4);
}

template <class Tile>
DEVICE void stage(float* shared, const Sums<Tile>& sums, int row, int column, int lane) {
#pragma unroll
  for (int m = 0; m < Tile::kM; ++m)
#pragma unroll
    for (int n = 0; n < Tile::kN; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float* const to = staged<Tile>(shared, row + 16 * m + 8 * half + lane / 4, column + 8 * n + lane % 4 * 2);
        *reinterpret_cast<float2*>(to) = make_float2(sums.at[m][n][2 * half], sums.at[m][n][2 * half + 1]);
      }
}

template <class Tile>
DEVICE Eight staged_eight(float* shared, int row, int column) {
  Eight sum;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const FourFloats four = *reinterpret_cast<const FourFloats*>(staged<Tile>(shared, row, column + 4 * half));
#pragma unroll
    for (int i = 0; i < 4; ++i) sum.at[4 * half + i] = four.at[i];
  }
  return sum;
}

template <class Tile>
DEVICE void write_eight_staged(float* shared, int row, int column, const Eight& sum) {
#pragma unroll
  for (int half = 0; half < 2; ++half)
    *reinterpret_cast<FourFloats*>(staged<Tile>(shared, row, column + 4 * half)) = {
        sum.at[4 * half], sum.at[4 * half + 1], sum.at[4 * half + 2], sum.at[4 * half + 3]};
}

}  // namespace diffusion::cuda
