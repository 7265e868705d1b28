// Index errors that only the device can see. A kernel that meets one skips the access and reports it; the backend reads
// the report after the operation and fails it, see backend.cc.
#pragma once

#include <cstdint>

#include "cuda/runtime/stream.h"

namespace diffusion::cuda {

enum IndexKind : int32_t {
  kNoIndexError = 0,
  kEmbeddingId = 1,  // value: the id, bound: the table's rows
  kTimestep = 2,     // value: t, bound: the schedule's steps
};

// The bits of a NaN: what kernels write for a value that an index outside its table leaves without one.
inline constexpr uint32_t kNan = 0x7FC00000u;

struct StatusFlag {
  int32_t kind;
  int32_t reserved;
  int64_t value, bound;
};

// Where the kernels of this stream report; cleared before every operation that checks it.
StatusFlag* status(Stream& stream);

#if defined(__CUDACC__) || defined(DIFFUSION_EMULATOR)
// Keeps the first report.
DEVICE void report_index(StatusFlag* flag, int32_t kind, int64_t value, int64_t bound) {
  if (atomicCAS(&flag->kind, static_cast<int32_t>(kNoIndexError), kind) != kNoIndexError) return;
  flag->value = value;
  flag->bound = bound;
}
#endif

}  // namespace diffusion::cuda
