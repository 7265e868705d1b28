// The two products that attention is made of, on tensor cores: a·bᵀ over the width of a head, and w·b over rows of it.
//   A block is four warps with 16 rows each. Tiles in shared memory are rows of kWidth values (the head's width, padded
//   with zeros) in chunks of 16 bytes; which place a chunk has depends on its row, so that the eight rows of a matrix
//   lie on different banks. Sums stay in registers as mma_bf16 lays them out: s[j][0 … 3] of the eight columns 8j … are
//   (g, t), (g, t + 1), (g + 8, t), (g + 8, t + 1) with g = lane / 4, t = 2·(lane % 4); as the left factor of the next
//   product they are already in place.
#pragma once

#include "cuda/attention_shape.cuh"
#include "cuda/ptx.cuh"

namespace diffusion::cuda::attention_mma {

constexpr int kThreads = 128, kRows = 64;
static_assert(kRows == AttentionShape::kTile);
constexpr int kOctet = 8;  // values in 16 bytes
constexpr float kInfinity = __builtin_huge_valf(), kLog2E = 1.44269504088896341f, kLn2 = 0.693147180559945309f;

struct alignas(16) Octet {
  Bf16 at[kOctet];
};

// 2^x, results below 2^-126 as zero.
DEVICE float power_of_two(float x) {
#if defined(DIFFUSION_EMULATOR)
  return exp2f(x);
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

// Chunks that change places among themselves, and by how much in a row.
template <int kWidth>
constexpr int kCycle = kWidth % 64 == 0 ? 8 : 4;
template <int kWidth>
DEVICE int turn(int row) {
  static_assert(kWidth % 32 == 0);
  return kCycle<kWidth> == 8 ? row & 7 : row >> 1 & 3;
}

template <int kWidth>
DEVICE int place(int row, int chunk) {
  return row * kWidth + (chunk ^ turn<kWidth>(row)) * kOctet;
}

DEVICE int lane() { return static_cast<int>(threadIdx.x) % 32; }
DEVICE int warp_row() { return static_cast<int>(threadIdx.x) / 32 * 16; }

// What a lane names to ldmatrix of the 16 × 16 values at rows 16·i and columns 16·k of a tile: row and chunk of its
// own. Constants are kept apart from what depends on the lane, so that few addresses need registers.
template <int kWidth>
DEVICE const Bf16* matrix_row(const Bf16* tile, int i, int row, int k, int chunk) {
  const int fixed = 2 * k, cycle = kCycle<kWidth>;
  return tile + row * kWidth + (chunk ^ turn<kWidth>(row) ^ fixed % cycle) * kOctet +
         (16 * i * kWidth + fixed / cycle * cycle * kOctet);
}

// tile = head[first_row …], zeros beyond its rows and width, for heads whose rows cannot be read in vectors.
template <int kTileRows, int kWidth>
DEVICE void gather_tile(Bf16* tile, const Head<Bf16>& head, int64_t first_row) {
  constexpr int kChunks = kWidth / kOctet;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < kTileRows * kChunks; i += kThreads) {
    const int row = i / kChunks, chunk = i % kChunks;
    const int inside = first_row + row < head.rows ? head.width - chunk * kOctet : 0;
    const Bf16* from = head.data + (first_row + row) * head.pitch + chunk * kOctet;
    Octet octet{};
#pragma unroll
    for (int e = 0; e < kOctet; ++e)
      if (e < inside) octet.at[e] = from[e];
    *reinterpret_cast<Octet*>(tile + place<kWidth>(row, chunk)) = octet;
  }
}

// The same for all heads. With vectors the copies run in the background: a thread
// fetches the same chunk of each cycle, of every kStep-th row.
template <int kTileRows, int kWidth>
DEVICE void load_tile(Bf16* tile, const Head<Bf16>& head, int64_t first_row) {
  if (!head.vector) return gather_tile<kTileRows, kWidth>(tile, head, first_row);
  constexpr int kStep = kThreads / kCycle<kWidth>, kSpan = kCycle<kWidth> * kOctet;
  static_assert(kTileRows % kStep == 0);
  const int row = static_cast<int>(threadIdx.x) / kCycle<kWidth>,
            chunk = static_cast<int>(threadIdx.x) % kCycle<kWidth>;
  const int rows = static_cast<int>(min(head.rows - first_row, int64_t{kTileRows})) - row;
  const int inside = head.width - chunk * kOctet;
  const Bf16* from = head.data + (first_row + row) * head.pitch + chunk * kOctet;
  Bf16* const to = tile + place<kWidth>(row, chunk);
#pragma unroll
  for (int i = 0; i < kTileRows; i += kStep, from += kStep * head.pitch)
#pragma unroll
    for (int column = 0; column < kWidth; column += kSpan) {
      const bool valid = i < rows && column < inside;
      cp_async_16(to + i * kWidth + column, valid ? from + column : head.data, valid);
    }
}

// The warp's rows of a tile, columns 16k … 16k + 15, as a left factor.
template <int kWidth>
DEVICE void left_factor(const Bf16* tile, int k, uint32_t (&a)[4]) {
  ldmatrix_x4(a, matrix_row<kWidth>(tile, 0, warp_row() + lane() % 16, k, lane() / 16));
}

// s += a·bᵀ over columns 16k … 16k + 15, for kColumns rows of tile b.
template <int kColumns, int kWidth>
DEVICE void multiply_rows(const uint32_t (&a)[4], const Bf16* b, int k, float (&s)[kColumns / 8][4]) {
#pragma unroll
  for (int j = 0; j < kColumns / 16; ++j) {
    uint32_t r[4];
    ldmatrix_x4(r, matrix_row<kWidth>(b, j, lane() % 8 + lane() / 16 * 8, k, lane() / 8 % 2));
    const uint32_t left[2] = {r[0], r[1]}, right[2] = {r[2], r[3]};
    mma_bf16(s[2 * j], a, left);
    mma_bf16(s[2 * j + 1], a, right);
  }
}

// s = a·bᵀ for the warp's rows of tile a and kColumns rows of tile b.
template <int kColumns, int kWidth>
DEVICE void products(const Bf16* a, const Bf16* b, float (&s)[kColumns / 8][4]) {
#pragma unroll
  for (int i = 0; i < kColumns / 2; ++i) s[i / 4][i % 4] = 0;
#pragma unroll 1
  for (int cycle = 0; cycle < kWidth; cycle += kCycle<kWidth> * kOctet)
#pragma unroll
    for (int k = 0; k < kCycle<kWidth> / 2; ++k) {
      uint32_t rows[4];
      left_factor<kWidth>(a + cycle, k, rows);
      multiply_rows<kColumns, kWidth>(rows, b + cycle, k, s);
    }
}

// result += w·b for kColumns rows of tile b, with w rounded to bf16.
template <int kColumns, int kWidth>
DEVICE void accumulate(const float (&w)[kColumns / 8][4], const Bf16* b, float (&result)[kWidth / 8][4]) {
#pragma unroll
  for (int k = 0; k < kColumns / 16; ++k) {
    const uint32_t a[4] = {pack_bf16(w[2 * k][0], w[2 * k][1]), pack_bf16(w[2 * k][2], w[2 * k][3]),
                           pack_bf16(w[2 * k + 1][0], w[2 * k + 1][1]), pack_bf16(w[2 * k + 1][2], w[2 * k + 1][3])};
#pragma unroll
    for (int j = 0; j < kWidth / 16; ++j) {
      uint32_t r[4];
      ldmatrix_x4_trans(r, matrix_row<kWidth>(b, k, lane() % 16, j, lane() / 16));
      const uint32_t left[2] = {r[0], r[1]}, right[2] = {r[2], r[3]};
      mma_bf16(result[2 * j], a, left);
      mma_bf16(result[2 * j + 1], a, right);
    }
  }
}

// to[first_row …] = result · factor (of row g, of row g + 8), by way of the warp's own rows of a tile that is no longer
// needed.
template <int kWidth>
DEVICE void store_result(Bf16* tile, const Head<Bf16>& shape, Bf16* to, int64_t first_row,
                         const float (&result)[kWidth / 8][4], float upper, float lower) {
  constexpr int kChunks = kWidth / kOctet;
  const int g = warp_row() + lane() / 4, t = 2 * (lane() % 4);
  __syncwarp();
#pragma unroll
  for (int j = 0; j < kChunks; ++j) {
    *reinterpret_cast<uint32_t*>(tile + place<kWidth>(g, j) + t) =
        pack_bf16(result[j][0] * upper, result[j][1] * upper);
    *reinterpret_cast<uint32_t*>(tile + place<kWidth>(g + 8, j) + t) =
        pack_bf16(result[j][2] * lower, result[j][3] * lower);
  }
  __syncwarp();
#pragma unroll 4
  for (int i = lane(); i < 16 * kChunks; i += 32) {
    const int row = warp_row() + i / kChunks, chunk = i % kChunks, inside = shape.width - chunk * kOctet;
    if (first_row + row >= shape.rows || inside <= 0) continue;
    const Octet octet = *reinterpret_cast<const Octet*>(tile + place<kWidth>(row, chunk));
    Bf16* at = to + (first_row + row) * shape.pitch + chunk * kOctet;
    if (shape.vector) {
      *reinterpret_cast<Octet*>(at) = octet;
      continue;
    }
#pragma unroll
    for (int e = 0; e < kOctet; ++e)
      if (e < inside) at[e] = octet.at[e];
  }
}

// Over the four lanes that share rows; all of them get the result.
template <class F>
DEVICE float across_row(float value, F combine) {
  value = combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, 1));
  return combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, 2));
}

// f with the width of tiles for a head of d values, as a constant.
template <class F>
void dispatch_width(int d, F f) {
  if (d <= 32) return f.template operator()<32>();
  if (d <= 64) return f.template operator()<64>();
  if (d <= 96) return f.template operator()<96>();
  if (d <= 128) return f.template operator()<128>();
  if (d <= 192) return f.template operator()<192>();
  return f.template operator()<kMaxWidth>();
}

// Before a launch with so much dynamic shared memory.
template <class Kernel>
void allow_shared(const char* operation, Kernel kernel, size_t bytes) {
  if (bytes > 48 * 1024)
    check(operation,
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
}

}  // namespace diffusion::cuda::attention_mma
