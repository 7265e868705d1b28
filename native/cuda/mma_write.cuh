// What becomes of the sums of a product whose rows are pixels and whose columns are channels.
//
//   y[pixel, k] = sum + bias[k] + shift[sample, k] + residual[pixel, k]     rounded once
//   sums        Σ y and Σ y² over every 64 rows, before rounding
//
// Rows of phase (p, q) are the pixels (n, i, j) of a grid; they are the pixels (n, step·i + p, step·j + q) of y. With
// more than one phase the 64 rows of a sum are neighbours in that grid.
#pragma once

#include "cuda/mma_gemm.cuh"

namespace diffusion::cuda {

struct WriteImage {
  static constexpr bool kStatistics = true, kColumnSums = false;
  void *y = nullptr, *y2 = nullptr;  // the channels of y, then those of y2
  int c1 = 0, c2 = 0;
  bool f32 = false;  // what y holds; y2, residual: bf16
  const float *bias = nullptr, *shift = nullptr;
  const Bf16* residual = nullptr;
  float* sums = nullptr;
  int h = 0, w = 0, grid_h = 0, grid_w = 0, step = 1;
  int64_t rows = 0;
  bool wide_image = false, wide_channels = false;  // y, y2, residual; bias, shift

  struct Ahead {
    int64_t pixel, sample;  // pixel −1: the row is none
    Chunk residual;         // where it is read as a whole
  };

  DEVICE Eight constants(int64_t column) const {
    Eight sum = {};
    if (bias && column < c1 + c2) add_eight(sum, bias + column, c1 + c2 - column, wide_channels);
    return sum;
  }
  DEVICE Ahead ahead(int phase, int64_t row, int64_t column) const {
    const int64_t area = static_cast<int64_t>(grid_h) * grid_w;
    Ahead at = {row, step > 1 || shift ? row / area : 0, {}};
    if (step > 1) {
      const int in_grid = static_cast<int>(row - at.sample * area);
      const int i = in_grid / grid_w * step + phase / step, j = in_grid % grid_w * step + phase % step;
      at.pixel = i < h && j < w ? (at.sample * h + i) * w + j : -1;
    }
    if (residual && wide_image && at.pixel >= 0)
      at.residual = *reinterpret_cast<const Chunk*>(residual + at.pixel * (c1 + c2) + column);
    return at;
  }
  DEVICE void operator()(const Ahead& at, int64_t column, const Eight& constant, Eight& sum) const {
    const int64_t columns = c1 + c2, left = columns - column, pixel = at.pixel;
    if (pixel < 0) return;
#pragma unroll
    for (int e = 0; e < kChunk; ++e) sum.at[e] += constant.at[e];
    if (shift) add_eight(sum, shift + at.sample * columns + column, left, wide_channels);
    if (residual && wide_image) add_eight(sum, at.residual);
    if (residual && !wide_image) add_eight(sum, residual + pixel * columns + column, left, false);
    if (f32) {
      write_eight(static_cast<float*>(y) + pixel * columns + column, sum, left, wide_image);
      return;
    }
    Bf16* const first = static_cast<Bf16*>(y) + pixel * c1 + column;
    Bf16* const second = static_cast<Bf16*>(y2) + pixel * c2 + (column - c1);
    if (wide_image) {
      write_eight(column < c1 ? first : second, sum, kChunk, true);
      return;
    }
#pragma unroll
    for (int e = 0; e < kChunk; ++e) {
      if (column + e < c1)
        first[e] = to_bf16(sum.at[e]);
      else if (e < left)
        second[e] = to_bf16(sum.at[e]);
    }
  }
  DEVICE float* statistics(int phase, int64_t row, int64_t column) const {
    const int64_t area = static_cast<int64_t>(grid_h) * grid_w, sample = row / area;
    const int64_t group = (sample * step * step + phase) * (area / 64) + (row - sample * area) / 64;
    return sums + (group * (c1 + c2) + column) * 2;
  }
};

inline constexpr int kFinishThreads = 256, kFinishColumns = 32;

// The parts of the depth added up, 64 rows × 32 columns a block, a thread eight columns of a row.
template <class Write>
KERNEL(kFinishThreads)
finish_kernel(Write write, Partials partials, int64_t rows, int64_t columns) {
  DYN_SMEM(float, shared);  // [64][kFinishColumns]
  const int64_t across = (columns + kFinishColumns - 1) / kFinishColumns;
  const int64_t row0 = blockIdx.x / across * 64, column0 = blockIdx.x % across * kFinishColumns;
  const int thread = threadIdx.x, phase = blockIdx.y * partials.steps + blockIdx.z;
  const int64_t row = row0 + thread / 4, column = column0 + thread % 4 * kChunk;
  Eight sum = {};
  if (row < rows && column < columns) {
#pragma unroll 4
    for (int part = 0; part < partials.parts; ++part)
      add_eight(sum, partials.at(part, phase, row, column), kChunk, true);
    write(write.ahead(phase, row, column), column, write.constants(column), sum);
  }
  if (!write.sums) return;
  write_eight(shared + thread * kChunk, sum, kChunk, true);
  __syncthreads();
  if (thread >= 2 * kFinishColumns || column0 + thread / 2 >= columns) return;
  float total = 0;
  for (int r = 0; r < 64; ++r) {
    const float value = shared[r * kFinishColumns + thread / 2];
    total += thread % 2 ? value * value : value;
  }
  write.statistics(phase, row0, column0 + thread / 2)[thread % 2] = total;
}

// A product whose rows are pixels, its depth cut where there would be too few tiles for a GPU. Scratch: slot 0.
template <class Operands>
void mma_image(Stream& stream, const char* operation, const Operands& operands, const WriteImage& write, int64_t depth,
               bool wide) {
  constexpr int64_t kFewTiles = 96, kShortestPart = 128;
  const int64_t rows = write.rows, columns = write.c1 + write.c2,
                phases = static_cast<int64_t>(write.step) * write.step;
  const Cut cut = cut_product(rows, columns, depth, phases, wide, kFewTiles, kShortestPart, false);
  Partials partials{
      nullptr, static_cast<int>(cut.parts), write.step, cut.span, rows, (columns + kChunk - 1) / kChunk * kChunk};
  if (cut.parts > 1)
    partials.data = stream.scratch_floats(0, static_cast<size_t>(cut.parts * phases * rows * partials.pitch));
  mma_gemm(stream, operation, operands, write, partials, rows, columns, cut.large, wide);
  if (cut.parts == 1) return;
  const int64_t blocks = (rows + 63) / 64 * ((columns + kFinishColumns - 1) / kFinishColumns);
  const auto steps = static_cast<unsigned>(write.step);
  LAUNCH((finish_kernel<WriteImage>), dim3(static_cast<unsigned>(blocks), steps, steps), dim3(kFinishThreads),
         64 * kFinishColumns * sizeof(float), stream.handle, write, partials, rows, columns);
  check_launch(operation);
}

}  // namespace diffusion::cuda
