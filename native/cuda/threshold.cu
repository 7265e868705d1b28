// The bound of dynamic thresholding (core/ops/threshold.h): |x0| into scratch memory, a thread for every four elements;
// then a block for each sample finds two of its values in order by their bits, eight at a time from above.
//   Bits of numbers of one sign are in the order of the numbers. 8 bytes an element, and five passes over 4.
//   A t outside the table is reported, and the bound of its sample is NaN.
#include "core/ops/threshold.h"
#include "cuda/ops.h"
#include "cuda/process_rows.cuh"

namespace diffusion::cuda {
namespace {

struct Sizes {
  ModelOutput output, unconditional;
  const float* x;
  uint32_t* sizes;
  int64_t size;
  Rows rows;
  float guidance;
  bool whole;

  struct Sample {
    float table[ReverseStep::kColumns];
  };
  DEVICE Sample of_row(int64_t n) const {
    Sample sample;
    rows.read(n, sample.table);
    return sample;
  }
  DEVICE void operator()(const Sample& known, int64_t n, int64_t first, int count) const {
    const Four<float> xs = load(x + n * size + first, count, whole);
    Four<float> m = output.mean(n, size, first, count, whole);
    if (unconditional) {
      const Four<float> u = unconditional.mean(n, size, first, count, whole);
      for (int k = 0; k < 4; ++k) m.at[k] = u.at[k] + guidance * (m.at[k] - u.at[k]);
    }
    Four<uint32_t> bits;
    for (int k = 0; k < 4; ++k)
      bits.at[k] = float_to_bits(known.table[0] * xs.at[k] + known.table[1] * m.at[k]) & 0x7FFFFFFFu;
    store(sizes + n * size + first, count, whole, bits);
  }
};

constexpr int kSelectThreads = 512, kBins = 256;
constexpr uint32_t kInfinity = 0x7F800000u;

struct Select {
  unsigned counts[kBins];
  uint32_t prefix, next, most;
  int64_t rank;
};

KERNEL(kSelectThreads)
select_kernel(const uint32_t* sizes, int64_t samples, int64_t size, QuantilePlace place, float max, float* bound) {
  DYN_SMEM(Select, shared);
  for (int64_t n = blockIdx.x; n < samples; n += gridDim.x) {
    const uint32_t* values = sizes + n * size;
    __syncthreads();  // the last sample's result has been read
    if (threadIdx.x == 0) {
      shared->prefix = shared->most = 0;
      shared->next = ~0u;
      shared->rank = place.below;
    }
    for (int shift = 24; shift >= 0; shift -= 8) {
      for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kSelectThreads) shared->counts[bin] = 0;
      __syncthreads();  // the counts are zero, and the prefix is that of the last round
      const uint32_t prefix = shared->prefix;
      for (int64_t i = threadIdx.x; i < size; i += kSelectThreads)
        if (shift == 24 || values[i] >> (shift + 8) == prefix)
          atomicAdd(&shared->counts[(values[i] >> shift) % kBins], 1u);
      __syncthreads();  // all have counted
      if (threadIdx.x == 0) {
        uint32_t bin = 0;
        for (; shared->counts[bin] <= shared->rank; ++bin) shared->rank -= shared->counts[bin];
        shared->prefix = prefix << 8 | bin;
      }
      __syncthreads();  // the prefix and what is left of the rank
    }
    const uint32_t below = shared->prefix;
    uint32_t next = ~0u, most = 0;
    for (int64_t i = threadIdx.x; i < size; i += kSelectThreads) {
      if (values[i] > below && values[i] < next) next = values[i];
      if (values[i] > most) most = values[i];
    }
    atomicMin(&shared->next, next);
    atomicMax(&shared->most, most);
    __syncthreads();  // all have told of theirs
    if (threadIdx.x != 0) continue;
    const bool repeats = shared->rank + 1 < shared->counts[below % kBins] || shared->next == ~0u;
    bound[n] = shared->most > kInfinity
                   ? bits_to_float(kNan)
                   : place.bound(bits_to_float(below), bits_to_float(repeats ? below : shared->next), max);
  }
}

}  // namespace

void threshold(Stream& stream, const Threshold& op) {
  const int64_t samples = op.x.shape[0], size = sample_size(op.x);
  auto* sizes = static_cast<uint32_t*>(stream.scratch(0, samples * size * sizeof(uint32_t)));
  const ModelOutput output(Threshold::name, op.output, op.x), u(Threshold::name, op.unconditional, op.x);
  const bool whole = output.whole_runs_as(samples, size) && u.whole_runs_as(samples, size) &&
                     whole_runs(samples, size, op.x.f32(), sizes);
  for_runs(stream, Threshold::name, samples, size,
           Sizes{output, u, op.x.f32(), sizes, size, rows_of(stream, op), op.guidance, whole});
  LAUNCH(select_kernel, dim3(static_cast<unsigned>(std::min<int64_t>(samples, 4096))), dim3(kSelectThreads),
         sizeof(Select), stream.handle, sizes, samples, size, QuantilePlace(op.ratio, size), op.max, op.bound.f32());
  check_launch(Threshold::name);
}

}  // namespace diffusion::cuda
