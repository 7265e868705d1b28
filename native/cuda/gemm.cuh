// Tiled matrix product in f32 whose operands are anything that a cursor can walk through.
//
//   C[i, j] = Σ_d A[i, d] · B[d, j]      rows × columns, summed over depth
//
// A block of 256 threads makes a 64 × 64 tile of C, each thread 4 × 4 of it, from slabs of 16 depths that are held in
// shared memory twice: while one is multiplied the next is on its way through registers. Every kTermsOfPart terms the
// sums are added to totals, which keeps the rounding of long sums small. The order of a sum depends on `depth` (and
// `span`) alone: a row's result does not depend on how many other rows there are.
//
// Bytes: each tile reads (64 + 64) · 4 bytes a depth from global memory and writes 16 KB; shared memory 17 KB.
//
// An operand ("source") has
//   kAlong     whether four consecutive depths (true) or four consecutive lines (false) are read at once; a line is a
//              row of A or a column of B
//   Cursor     a thread's position
//   begin(line, depth, end)   the cursor of the four elements that start there; depths from `end` on read as zero
//   next(cursor)              those four elements; the cursor moves on by kSlab depths
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/view.h"
#include "cuda/quad.cuh"
#include "cuda/runtime/stream.h"
#include "cuda/simt.h"

namespace diffusion::cuda {

inline constexpr int kTile = 64, kSlab = 16, kGemmThreads = 256;
inline constexpr int kPitch = kTile + 4;  // keeps 16-byte alignment and spreads transposed writes over the banks
inline constexpr int kTermsOfPart = 512;

DIFFUSION_HD bool can_be_wide(const void* data, int64_t pitch) {
  return reinterpret_cast<uintptr_t>(data) % sizeof(Quad) == 0 && pitch % 4 == 0;
}

// The first `count` (≤ 0: none, ≥ 4: all) of four elements, zeros for the rest. `wide`: four may be read as one.
DEVICE Quad read_quad(const float* from, int64_t count, bool wide) {
  Quad q = {};
  if (wide && count >= 4) return *reinterpret_cast<const Quad*>(from);
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (i < count) q.at[i] = from[i];
  return q;
}

DEVICE void write_quad(float* to, int64_t count, bool wide, const Quad& q) {
  if (wide && count >= 4) {
    *reinterpret_cast<Quad*>(to) = q;
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (i < count) to[i] = q.at[i];
}

// a · b + c. Rounded once on a GPU; the emulator's machine may have no such instruction.
DEVICE float multiply_add(float a, float b, float c) {
#if defined(DIFFUSION_EMULATOR)
  return a * b + c;
#else
  return fmaf(a, b, c);
#endif
}

// A matrix in memory. along: element (line, depth) at data[line · pitch + depth], otherwise at data[depth · pitch +
// line].
template <bool along>
struct Matrix {
  static constexpr bool kAlong = along;
  const float* data;
  int64_t lines, pitch;
  bool wide;

  struct Cursor {
    const float* at;
    int64_t line, depth, end;
  };
  DEVICE Cursor begin(int64_t line, int64_t depth, int64_t end) const {
    return {data + (along ? line * pitch + depth : depth * pitch + line), line, depth, end};
  }
  DEVICE Quad next(Cursor& c) const {
    const int64_t left = c.end - c.depth, lines_left = lines - c.line;
    const Quad q = read_quad(c.at, along ? (lines_left > 0 ? left : 0) : (left > 0 ? lines_left : 0), wide);
    c.depth += kSlab;
    c.at += along ? kSlab : kSlab * pitch;
    return q;
  }
};

template <bool along>
Matrix<along> matrix(const float* data, int64_t lines, int64_t pitch) {
  return {data, lines, pitch, can_be_wide(data, pitch)};
}

// y[i, j] = sum + bias[j] + shift[i / rows_per_sample, j] + residual[i, j]; any of the three may be null.
struct WriteSum {
  float* y;
  const float *bias, *shift, *residual;
  int64_t columns, rows_per_sample;
  bool wide;

  DEVICE void add(Quad& sum, const float* from, int64_t count) const {
    const Quad q = read_quad(from, count, wide);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum.at[i] += q.at[i];
  }
  DEVICE void operator()(int, int64_t row, int64_t column, Quad sum) const {
    const int64_t count = columns - column;
    if (bias) add(sum, bias + column, count);
    if (shift) add(sum, shift + row / rows_per_sample * columns + column, count);
    if (residual) add(sum, residual + row * columns + column, count);
    write_quad(y + row * columns + column, count, wide, sum);
  }
};

inline WriteSum write_sum(float* y, int64_t columns, const float* bias = nullptr, const float* residual = nullptr,
                          const float* shift = nullptr, int64_t rows_per_sample = 1) {
  const bool wide = can_be_wide(y, columns) && can_be_wide(bias, columns) && can_be_wide(shift, columns) &&
                    can_be_wide(residual, columns);
  return {y, bias, shift, residual, columns, rows_per_sample, wide};
}

template <bool along>
DEVICE void store_slab(float* slab, const Quad& q) {
  const int thread = threadIdx.x;
  if (along) {
#pragma unroll
    for (int i = 0; i < 4; ++i) slab[(thread % 4 * 4 + i) * kPitch + thread / 4] = q.at[i];
  } else {
    *reinterpret_cast<Quad*>(slab + thread / 16 * kPitch + thread % 16 * 4) = q;
  }
}

template <class Source>
DEVICE typename Source::Cursor begin_slab(const Source& source, int64_t line, int64_t depth, int64_t end) {
  const int thread = threadIdx.x;
  return Source::kAlong ? source.begin(line + thread / 4, depth + thread % 4 * 4, end)
                        : source.begin(line + thread % 16 * 4, depth + thread / 16, end);
}

inline constexpr size_t kGemmShared = 4 * kSlab * kPitch * sizeof(float);  // [2][A, B][kSlab][kPitch]

// Thread's four rows and columns of the tile of C that begins at (row0, column0): total += Σ over first … end − 1.
template <class A, class B>
DEVICE void add_tile(float* shared, const A& a, const B& b, int64_t row0, int64_t column0, int64_t first, int64_t end,
                     Quad (&total)[4]) {
  constexpr int kSize = kSlab * kPitch;
  const int slabs = static_cast<int>((end - first + kSlab - 1) / kSlab);
  const int i0 = threadIdx.x / 16 * 4, j0 = threadIdx.x % 16 * 4;

  auto a_at = begin_slab(a, row0, first, end);
  auto b_at = begin_slab(b, column0, first, end);
  store_slab<A::kAlong>(shared, a.next(a_at));
  store_slab<B::kAlong>(shared + kSize, b.next(b_at));
  __syncthreads();

  Quad part[4] = {};
  for (int slab = 0; slab < slabs; ++slab) {
    const float* const now = shared + slab % 2 * 2 * kSize;
    Quad a_next, b_next;
    const bool more = slab + 1 < slabs;
    if (more) {
      a_next = a.next(a_at);
      b_next = b.next(b_at);
    }
#pragma unroll
    for (int d = 0; d < kSlab; ++d) {
      const Quad ad = *reinterpret_cast<const Quad*>(now + d * kPitch + i0);
      const Quad bd = *reinterpret_cast<const Quad*>(now + kSize + d * kPitch + j0);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) part[i].at[j] = multiply_add(ad.at[i], bd.at[j], part[i].at[j]);
    }
    if (!more || (slab + 1) % (kTermsOfPart / kSlab) == 0) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) total[i].at[j] += part[i].at[j];
        part[i] = Quad{};
      }
    }
    if (more) {
      float* const later = shared + (slab + 1) % 2 * 2 * kSize;
      store_slab<A::kAlong>(later, a_next);
      store_slab<B::kAlong>(later + kSize, b_next);
    }
    __syncthreads();
  }
}

// grid: x tiles of C, columns fastest (neighbours share rows of A); z parts of the depth, `span` each.
template <class A, class B, class Write>
KERNEL(kGemmThreads)
gemm_kernel(A a, B b, Write write, int64_t rows, int64_t columns, int64_t depth, int64_t span) {
  DYN_SMEM(float, shared);
  const int64_t tile = blockIdx.x, across = (columns + kTile - 1) / kTile;
  const int64_t row0 = tile / across * kTile, column0 = tile % across * kTile;
  const int64_t first = blockIdx.z * span, end = first + span < depth ? first + span : depth;
  const int i0 = threadIdx.x / 16 * 4, j0 = threadIdx.x % 16 * 4;
  Quad total[4] = {};
  add_tile(shared, a, b, row0, column0, first, end, total);
  if (column0 + j0 >= columns) return;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (row0 + i0 + i < rows) write(blockIdx.z, row0 + i0 + i, column0 + j0, total[i]);
}

inline int64_t gemm_tiles(int64_t rows, int64_t columns) {
  return (rows + kTile - 1) / kTile * ((columns + kTile - 1) / kTile);
}

// `parts` sums over `span` depths each, a multiple of kSlab; write(part, row, column, four sums) is called for every
// fourth column.
template <class A, class B, class Write>
void gemm(Stream& stream, const char* operation, const A& a, const B& b, const Write& write, int64_t rows,
          int64_t columns, int64_t depth, int64_t parts = 1, int64_t span = INT64_MAX / 2) {
  const dim3 grid(static_cast<unsigned>(gemm_tiles(rows, columns)), 1, static_cast<unsigned>(parts));
  LAUNCH((gemm_kernel<A, B, Write>), grid, dim3(kGemmThreads), kGemmShared, stream.handle, a, b, write, rows, columns,
         depth, span);
  check_launch(operation);
}

}  // namespace diffusion::cuda
