// Nearest-neighbour enlargement by 2 (core/ops/upsample.h), one pass, a row of the small image at a time.
#include "core/ops/upsample.h"

#include <cstring>

#include "cpu/float_types.h"
#include "cpu/ops.h"
#include "cpu/parallel.h"

namespace diffusion::cpu::DIFFUSION_ISA {

void upsample(Stream& stream, const Upsample& op) {
  const int64_t rows = op.x.shape[0] * op.x.shape[1], w = op.x.shape[2], c = op.x.shape[3];
  const int64_t pixel = c * static_cast<int64_t>(bytes_of(op.x.dtype));
  parallel_for(stream, rows, grain_of(4 * w * c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const char* x = op.x.as<char>() + row * w * pixel;
      char* y = op.y.as<char>() + row * 4 * w * pixel;  // y[n, 2h]
      for (int64_t i = 0; i < w; ++i) {
        std::memcpy(y + 2 * i * pixel, x + i * pixel, pixel);
        std::memcpy(y + (2 * i + 1) * pixel, x + i * pixel, pixel);
      }
      std::memcpy(y + 2 * w * pixel, y, 2 * w * pixel);
    }
  });
}

namespace {

template <class From, class To>
void add_quads(const Stream& stream, const UpsampleBackward& op) {
  const int64_t rows = op.dx.shape[0] * op.dx.shape[1], w = op.dx.shape[2], c = op.dx.shape[3];
  parallel_for(stream, rows, grain_of(4 * w * c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const From* above = op.dy.as<From>() + row * 4 * w * c;  // dy[n, 2h]
      const From* below = above + 2 * w * c;                   // dy[n, 2h + 1]
      To* dx = op.dx.as<To>() + row * w * c;
      for (int64_t i = 0; i < w; ++i, above += 2 * c, below += 2 * c, dx += c)
#pragma omp simd
        for (int64_t k = 0; k < c; ++k)
          dx[k] = convert<To>((widen(above[k]) + widen(above[k + c])) + (widen(below[k]) + widen(below[k + c])));
    }
  });
}

}  // namespace

// The convolution's gradient comes in f32 where dx holds bf16.
void upsample_backward(Stream& stream, const UpsampleBackward& op) {
  with_float(op.dy.dtype, [&](auto from) {
    with_float(op.dx.dtype, [&](auto to) { add_quads<decltype(from), decltype(to)>(stream, op); });
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
