// Timesteps and class labels as vectors (core/ops/embedding.h).
//   t, ids [N]     table, dtable [V, D] f32     y, dy, addend [N, D] f32
//   a thread for every four columns of a row of y, or of dtable
//   An id outside the table is reported; its row of y is NaN, so that nothing that depends on it passes for a result,
//   and its row of dy is left out.
#include <cmath>

#include "core/ops/embedding.h"
#include "cuda/ops.h"
#include "cuda/runs.cuh"
#include "cuda/runtime/status.h"

namespace diffusion::cuda {
namespace {

// In float64: an angle of 1000 radians rounded to f32 would be wrong by 3e-5.
struct Sinusoids {
  View t;
  float* y;
  int64_t width;
  double rate;  // freq_i = exp(rate · i)
  bool flip_sin_to_cos;

  DEVICE double of_row(int64_t n) const {
    return t.dtype == DType::i32 ? static_cast<const int32_t*>(t.data)[n] : static_cast<const float*>(t.data)[n];
  }
  DEVICE void operator()(double time, int64_t n, int64_t first, int count) const {
    const int64_t half = width / 2;
    for (int64_t column = first; column < first + count; ++column) {
      const int64_t i = column < half ? column : column - half;
      const double angle = time * (i == 0 ? 1.0 : exp(rate * static_cast<double>(i)));
      const double value = (column < half) != flip_sin_to_cos ? sin(angle) : cos(angle);
      y[n * width + column] = i < half ? static_cast<float>(value) : 0.0f;  // a zero ends an odd width
    }
  }
};

struct Lookup {
  static constexpr int64_t kOutside = kNoRow - 1;
  const int32_t* ids;
  const float *table, *addend;
  float* y;
  int64_t rows, width;
  bool whole;
  StatusFlag* status;

  DEVICE int64_t of_row(int64_t n) const {
    const int32_t id = ids[n];
    if (id >= kNoRow && id < rows) return id;
    report_index(status, kEmbeddingId, id, rows);
    return kOutside;
  }
  DEVICE void operator()(int64_t id, int64_t n, int64_t first, int count) const {
    const int64_t at = n * width + first;  // y[n, first]
    Four<float> four;
    if (id >= 0)
      four = load(table + id * width + first, count, whole);
    else
      for (int k = 0; k < 4; ++k) four.at[k] = id == kNoRow ? 0.0f : bits_to_float(kNan);
    if (addend != nullptr) {
      const Four<float> more = load(addend + at, count, whole);
      for (int k = 0; k < 4; ++k) four.at[k] += more.at[k];
    }
    store(y + at, count, whole, four);
  }
};

// Each element of the table is summed by one thread in the order of the samples, so no atomics are needed: every row
// looks through all N ids, which lie in the cache. With an id outside the table all of it becomes NaN: an update that
// runs before the report is heard of changes nothing then.
struct LookupGradient {
  const int32_t* ids;
  const float* dy;
  float* dtable;
  int64_t samples, rows, width;
  bool whole, accumulate;
  StatusFlag* status;

  DEVICE void operator()(int64_t row, int64_t first, int count) const {
    float* place = dtable + row * width + first;
    Four<float> sum = accumulate ? load(place, count, whole) : Four<float>{};
    for (int64_t n = 0; n < samples; ++n) {
      const int32_t id = ids[n];
      if (id < kNoRow || id >= rows) {
        if (row == 0 && first == 0) report_index(status, kEmbeddingId, id, rows);
        for (int k = 0; k < 4; ++k) sum.at[k] = bits_to_float(kNan);
      }
      if (id != row) continue;
      const Four<float> term = load(dy + n * width + first, count, whole);
      for (int k = 0; k < 4; ++k) sum.at[k] += term.at[k];
    }
    store(place, count, whole, sum);
  }
};

}  // namespace

void timestep_embedding(Stream& stream, const TimestepEmbedding& op) {
  const int64_t samples = op.y.shape[0], width = op.y.shape[1];
  const double rate = -std::log(10000.0) / (static_cast<double>(width / 2) - static_cast<double>(op.freq_shift));
  for_runs(stream, TimestepEmbedding::name, samples, width,
           Sinusoids{op.t, op.y.f32(), width, rate, op.flip_sin_to_cos});
}

void embedding(Stream& stream, const Embedding& op) {
  const int64_t samples = op.ids.size(), rows = op.table.shape[0], width = op.table.shape[1];
  const bool whole = width % 4 == 0 && whole_runs(samples, width, op.table.f32(), op.addend.f32(), op.y.f32());
  for_runs(stream, Embedding::name, samples, width,
           Lookup{op.ids.i32(), op.table.f32(), op.addend.f32(), op.y.f32(), rows, width, whole, status(stream)});
}

void embedding_backward(Stream& stream, const EmbeddingBackward& op) {
  const int64_t rows = op.dtable.shape[0], width = op.dtable.shape[1];
  const bool whole = width % 4 == 0 && whole_runs(rows, width, op.dy.f32(), op.dtable.f32());
  for_runs(stream, EmbeddingBackward::name, rows, width,
           LookupGradient{op.ids.i32(), op.dy.f32(), op.dtable.f32(), op.ids.size(), rows, width, whole, op.accumulate,
                          status(stream)});
}

}  // namespace diffusion::cuda
