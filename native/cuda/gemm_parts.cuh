// Gradients of weights and biases: sums over all pixels, in parts that the shape fixes, added up in order.
//
//   weights   dweight[i, j] (+)= Σ_m x[m, i] · dy[m, j]     parts of the product in scratch, then a pass over them
//   bias      dbias[j] (+)= Σ_m dy[m, j]                    likewise
//
// Scratch: slot 0 the parts of dweight (≤ kBlocks tiles: 8 MB), slot 1 those of dbias.
#pragma once

#include "cuda/gemm.cuh"

namespace diffusion::cuda {

inline constexpr int64_t kBlocks = 512;        // as many as fill a GPU
inline constexpr int64_t kShortestPart = 256;  // pixels
inline constexpr int kSumThreads = 256, kSumColumns = 32;

// The parts side by side, or straight to the gradient when there is only one.
struct WritePart {
  float* to;
  int64_t columns, size;
  bool accumulate, wide;

  DEVICE void operator()(int part, int64_t row, int64_t column, Quad sum) const {
    float* const at = to + part * size + row * columns + column;
    if (accumulate) {
      const Quad before = read_quad(at, columns - column, wide);
#pragma unroll
      for (int i = 0; i < 4; ++i) sum.at[i] += before.at[i];
    }
    write_quad(at, columns - column, wide, sum);
  }
};

// to[i] (+)= Σ_p parts[p, i]
template <int kThreads>
KERNEL(kThreads)
add_parts_kernel(const float* parts, int64_t count, int64_t size, bool accumulate, float* to) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < size; i += step) {
    float sum = 0;
#pragma unroll 8
    for (int64_t p = 0; p < count; ++p) sum += parts[p * size + i];
    to[i] = accumulate ? to[i] + sum : sum;
  }
}

inline void add_parts(Stream& stream, const char* operation, const float* parts, int64_t count, int64_t size,
                      bool accumulate, float* to) {
  const int64_t blocks = std::min<int64_t>((size + kSumThreads - 1) / kSumThreads, 4096);
  LAUNCH((add_parts_kernel<kSumThreads>), dim3(static_cast<unsigned>(blocks)), dim3(kSumThreads), 0, stream.handle,
         parts, count, size, accumulate, to);
  check_launch(operation);
}

// parts[blockIdx.x, j] = the sum of column j of dy over `span` rows. A thread adds every eighth row of one column.
template <int kThreads>
KERNEL(kThreads)
sum_rows_kernel(const float* dy, int64_t rows, int64_t columns, int64_t span, float* parts) {
  constexpr int kRows = kThreads / kSumColumns;
  DYN_SMEM(float, shared);  // [kRows][kSumColumns]
  const int lane = threadIdx.x % kSumColumns, line = threadIdx.x / kSumColumns;
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kSumColumns + lane;
  const int64_t first = blockIdx.x * span, end = first + span < rows ? first + span : rows;
  float total = 0;
  if (column < columns) {
    for (int64_t row0 = first + line; row0 < end; row0 += 64 * kRows) {
      const int64_t stop = row0 + 64 * kRows < end ? row0 + 64 * kRows : end;
      float part = 0;
#pragma unroll 4
      for (int64_t row = row0; row < stop; row += kRows) part += dy[row * columns + column];
      total += part;
    }
  }
  shared[threadIdx.x] = total;
  __syncthreads();
  if (line > 0 || column >= columns) return;
  for (int i = 1; i < kRows; ++i) total += shared[i * kSumColumns + lane];
  parts[blockIdx.x * columns + column] = total;
}

inline void sum_rows(Stream& stream, const char* operation, const float* dy, int64_t rows, int64_t columns,
                     bool accumulate, float* dbias) {
  const int64_t span = std::max((rows + kBlocks - 1) / kBlocks, kShortestPart), parts = (rows + span - 1) / span;
  float* const scratch = stream.scratch_floats(1, static_cast<size_t>(parts * columns));
  const dim3 grid(static_cast<unsigned>(parts), static_cast<unsigned>((columns + kSumColumns - 1) / kSumColumns));
  LAUNCH((sum_rows_kernel<kSumThreads>), grid, dim3(kSumThreads), kSumThreads * sizeof(float), stream.handle, dy, rows,
         columns, span, scratch);
  check_launch(operation);
  add_parts(stream, operation, scratch, parts, columns, accumulate, dbias);
}

// dweight [rows, columns] (+)= Σ over depth; B is dy.
template <class A, class B>
void weight_gradient(Stream& stream, const char* operation, const A& a, const B& b, int64_t rows, int64_t columns,
                     int64_t depth, bool accumulate, float* dweight) {
  const int64_t wanted = std::max<int64_t>(kBlocks / gemm_tiles(rows, columns), 1);
  const int64_t even = std::max((depth + wanted - 1) / wanted, kShortestPart);
  const int64_t span = (even + kSlab - 1) / kSlab * kSlab, parts = (depth + span - 1) / span, size = rows * columns;
  if (parts == 1) {
    const WritePart write{dweight, columns, size, accumulate, can_be_wide(dweight, columns)};
    gemm(stream, operation, a, b, write, rows, columns, depth);
    return;
  }
  float* const scratch = stream.scratch_floats(0, static_cast<size_t>(parts * size));
  const WritePart write{scratch, columns, size, false, can_be_wide(scratch, columns)};
  gemm(stream, operation, a, b, write, rows, columns, depth, parts, span);
  add_parts(stream, operation, scratch, parts, size, accumulate, dweight);
}

}  // namespace diffusion::cuda
