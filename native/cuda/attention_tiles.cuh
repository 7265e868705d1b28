// The two products that attention is made of, on tiles of 64 rows by 64 columns in f32 (heads hold f32 or bf16).
//   A block has 16 × 16 threads. Of a tile of weights thread (ty, tx) holds rows 4·ty … 4·ty + 3 and columns tx, tx +
//   16, …; of a tile of results the same rows and columns 4·tx … 4·tx + 3 of each part of 64 columns. Heads are
//   strided: row i of a head starts pitch elements after row i − 1. Rows and columns beyond the end read as zero.
#pragma once

#include "cuda/attention_shape.cuh"
#include "cuda/quad.cuh"

namespace diffusion::cuda::attention_tiles {

constexpr int kThreads = 256, kTile = AttentionShape::kTile, kSlab = 32;
constexpr int kSlabPitch = kSlab + 4, kWeightPitch = kTile + 4;  // 16-byte aligned, neighbouring rows on other banks
constexpr int kParts = 4;  // of 64 columns that a thread has registers for, at most
constexpr float kInfinity = __builtin_huge_valf();

struct Shared {
  float a[kTile * kSlabPitch];
  float b[kTile * kSlabPitch];  // a and b also hold the 64 × 64 tile that weights are multiplied with
  float weights[kTile * kWeightPitch];
};
static_assert(2 * kTile * kSlabPitch >= kTile * kTile && sizeof(Shared) <= 48 * 1024);

DEVICE float value_of(float x) { return x; }
DEVICE float value_of(Bf16 x) { return widen(x); }
DEVICE void round_to(float* to, float x) { *to = x; }
DEVICE void round_to(Bf16* to, float x) { *to = to_bf16(x); }

// tile[row, column] = head[first_row + row, first_column + column]
template <int columns, int pitch, class T>
DEVICE void load_tile(float* tile, const Head<T>& head, int64_t first_row, int first_column) {
  constexpr int kRows = kThreads / (columns / 4);  // that a step fills
  const int row = static_cast<int>(threadIdx.x) / (columns / 4),
            column = static_cast<int>(threadIdx.x) % (columns / 4) * 4;
  const int inside = head.width - first_column - column;
  const int64_t rows = head.rows - first_row - row;
  const T* from = head.data + (first_row + row) * head.pitch + first_column + column;
#pragma unroll
  for (int step = 0; step < kTile / kRows; ++step, from += kRows * head.pitch) {
    Quad quad{};
    if (step * kRows < rows) {
      if (std::is_same_v<T, float> && head.vector) {
        if (inside > 0) quad = *reinterpret_cast<const Quad*>(from);
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (i < inside) quad.at[i] = value_of(from[i]);
      }
    }
    *reinterpret_cast<Quad*>(tile + (step * kRows + row) * pitch + column) = quad;
  }
}

DEVICE Quad quad_at(const float* from) { return *reinterpret_cast<const Quad*>(from); }

// dot[i][j] = a[row i]·b[column j], summed over the width in its order.
template <class T>
DEVICE void products(Shared& shared, const Head<T>& a, int64_t first_row, const Head<T>& b, int64_t first_column,
                     float (&dot)[4][4]) {
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll
  for (int i = 0; i < 16; ++i) dot[i / 4][i % 4] = 0;
#pragma unroll 1
  for (int d = 0; d < a.width; d += kSlab) {
    __syncthreads();  // the tiles may still be in use
    load_tile<kSlab, kSlabPitch>(shared.a, a, first_row, d);
    load_tile<kSlab, kSlabPitch>(shared.b, b, first_column, d);
    __syncthreads();
#pragma unroll 1
    for (int k = 0; k < kSlab; k += 4) {
      Quad columns[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) columns[j] = quad_at(shared.b + (tx + 16 * j) * kSlabPitch + k);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const Quad row = quad_at(shared.a + (4 * ty + i) * kSlabPitch + k);
#pragma unroll
        for (int e = 0; e < 4; ++e)
#pragma unroll
          for (int j = 0; j < 4; ++j) dot[i][j] = fmaf(row.at[e], columns[j].at[e], dot[i][j]);
      }
    }
  }
}

DEVICE void store_weights(Shared& shared, const float (&weights)[4][4]) {
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) shared.weights[(4 * ty + i) * kWeightPitch + tx + 16 * j] = weights[i][j];
}

// result += weights · b[first_row … first_row + 63, first_column …]
template <int parts, class T>
DEVICE void accumulate(Shared& shared, const Head<T>& b, int64_t first_row, int first_column,
                       float (&result)[parts][4][4]) {
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
  float* const tile = shared.a;
#pragma unroll
  for (int part = 0; part < parts; ++part) {
    __syncthreads();  // weights are complete, and the tile no longer in use
    load_tile<kTile, kTile>(tile, b, first_row, first_column + part * kTile);
    __syncthreads();
#pragma unroll 1
    for (int k = 0; k < kTile; k += 4) {
      Quad weights[4], values[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        weights[i] = quad_at(shared.weights + (4 * ty + i) * kWeightPitch + k);
        values[i] = quad_at(tile + (k + i) * kTile + 4 * tx);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e)
#pragma unroll
          for (int j = 0; j < 4; ++j) result[part][i][j] = fmaf(weights[i].at[e], values[e].at[j], result[part][i][j]);
    }
  }
}

// to[first_row …, first_column …] = result · factor(row of the thread)
template <int parts, class T, class F>
DEVICE void store_result(const Head<T>& shape, T* to, int64_t first_row, int first_column,
                         const float (&result)[parts][4][4], F factor) {
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll
  for (int part = 0; part < parts; ++part)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t row = first_row + 4 * ty + i;
      const int column = first_column + part * kTile + 4 * tx;
      if (row >= shape.rows || column >= shape.width) continue;
      Quad quad;
#pragma unroll
      for (int j = 0; j < 4; ++j) quad.at[j] = result[part][i][j] * factor(i);
      T* const at = to + row * shape.pitch + column;
      if (std::is_same_v<T, float> && shape.vector) {
        *reinterpret_cast<Quad*>(at) = quad;
        continue;
      }
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (column + j < shape.width) round_to(at + j, quad.at[j]);
    }
}

// Over the sixteen threads that share rows; all of them get the result.
template <class F>
DEVICE float across_row(float value, F combine) {
#pragma unroll
  for (int distance = 8; distance > 0; distance /= 2)
    value = combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, distance));
  return value;
}

}  // namespace diffusion::cuda::attention_tiles
