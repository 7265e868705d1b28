// The bound of dynamic thresholding (core/ops/threshold.h): |x0| of a sample in scratch memory, and two of its values
// in order found by partitioning. Bits of numbers of one sign are in the order of the numbers.
#include "core/ops/threshold.h"

#include <algorithm>

#include "cpu/ops.h"
#include "cpu/process_rows.h"

namespace diffusion::cpu::DIFFUSION_ISA {

void threshold(Stream& stream, const Threshold& op) {
  check_rows<Threshold>(op.t, op.table.shape[0]);
  const ModelOutput outputs(op.output, op.x), unconditional(op.unconditional, op.x);
  const int64_t samples = op.x.shape[0], size = op.x.per_sample();
  auto* sizes = static_cast<uint32_t*>(stream.scratch.get(0, samples * size * sizeof(uint32_t)));
  for_chunks(stream, op.x, 2, [&](int64_t n, int64_t first, int64_t count) {
    alignas(64) float half[kRandomChunk], buffer[kRandomChunk];
    const float* row = op.table.f32() + ReverseStep::kColumns * op.t.i32()[n];
    const float px = row[0], pm = row[1];
    const float *x = op.x.f32() + n * size + first, *output = outputs.mean(n, first, count, half);
    const float* u = op.unconditional ? unconditional.mean(n, first, count, buffer) : output;
    uint32_t* to = sizes + n * size + first;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i)
      to[i] = float_to_bits(px * x[i] + pm * (op.unconditional ? u[i] + op.guidance * (output[i] - u[i]) : output[i])) &
              0x7FFFFFFFu;
  });
  const QuantilePlace place(op.ratio, size);
  parallel_for(stream, samples, grain_of(8 * size), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      uint32_t *first = sizes + n * size, *last = first + size, *below = first + place.below;
      std::nth_element(first, below, last);
      const uint32_t next = below + 1 == last ? *below : *std::min_element(below + 1, last);
      const bool any_nan = *std::max_element(below, last) > 0x7F800000u;
      op.bound.f32()[n] =
          any_nan ? bits_to_float(0x7FC00000u) : place.bound(bits_to_float(*below), bits_to_float(next), op.max);
    }
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
