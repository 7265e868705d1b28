// Timesteps and class labels as vectors (core/ops/embedding.h).
#include "core/ops/embedding.h"

#include <cmath>
#include <cstring>

#include "cpu/ops.h"
#include "cpu/parallel.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

template <class Op>
void check_ids(const View& ids, int64_t rows) {
  const int32_t* id = ids.i32();
  for (int64_t n = 0; n < ids.size(); ++n)
    if (id[n] < kNoRow || id[n] >= rows)
      fail(code::option, "%s: id %d is outside [-1, %lld)", Op::name, id[n], static_cast<long long>(rows));
}

}  // namespace

// In float64: an angle of 1000 radians rounded to float32 would be wrong by 3e-5.
void timestep_embedding(Stream& stream, const TimestepEmbedding& op) {
  const int64_t d = op.y.shape[1], half = d / 2;
  const double rate = -std::log(10000.0) / (static_cast<double>(half) - static_cast<double>(op.freq_shift));
  double* freq = static_cast<double*>(stream.scratch.get(0, (half + 1) * sizeof(double)));
  for (int64_t i = 0; i < half; ++i) freq[i] = i == 0 ? 1.0 : std::exp(rate * static_cast<double>(i));
  const int64_t sine = op.flip_sin_to_cos ? half : 0, cosine = half - sine;
  parallel_for(stream, op.y.shape[0], grain_of(16 * d), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const double t = op.t.dtype == DType::i32 ? op.t.i32()[n] : op.t.f32()[n];
      float* y = op.y.f32() + n * d;
      for (int64_t i = 0; i < half; ++i) {
        y[sine + i] = static_cast<float>(std::sin(t * freq[i]));
        y[cosine + i] = static_cast<float>(std::cos(t * freq[i]));
      }
      if (d % 2 == 1) y[d - 1] = 0.0f;
    }
  });
}

void embedding(Stream& stream, const Embedding& op) {
  check_ids<Embedding>(op.ids, op.table.shape[0]);
  const int64_t d = op.table.shape[1];
  parallel_for(stream, op.ids.size(), grain_of(d), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int32_t id = op.ids.i32()[n];
      const float* row = id == kNoRow ? nullptr : op.table.f32() + id * d;
      const float* addend = op.addend ? op.addend.f32() + n * d : nullptr;
      float* y = op.y.f32() + n * d;
      if (row == nullptr && addend == nullptr) {
        std::memset(y, 0, d * sizeof(float));
        continue;
      }
      if (row == nullptr || addend == nullptr) {
        std::memcpy(y, row == nullptr ? addend : row, d * sizeof(float));
        continue;
      }
#pragma omp simd
      for (int64_t i = 0; i < d; ++i) y[i] = row[i] + addend[i];
    }
  });
}

// Threads share the columns, so that each element is summed in the order of the samples.
void embedding_backward(Stream& stream, const EmbeddingBackward& op) {
  const int64_t rows = op.dtable.shape[0], d = op.dtable.shape[1], count = op.ids.size();
  check_ids<EmbeddingBackward>(op.ids, rows);
  const int64_t touched = count + (op.accumulate ? 0 : rows);
  parallel_for(stream, d, grain_of(touched), [&](int64_t begin, int64_t end) {
    if (!op.accumulate)
      for (int64_t row = 0; row < rows; ++row)
        std::memset(op.dtable.f32() + row * d + begin, 0, (end - begin) * sizeof(float));
    for (int64_t n = 0; n < count; ++n) {
      const int32_t id = op.ids.i32()[n];
      if (id == kNoRow) continue;
      const float* dy = op.dy.f32() + n * d;
      float* dtable = op.dtable.f32() + id * d;
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) dtable[i] += dy[i];
    }
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
