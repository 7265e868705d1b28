// The CUDA backend's side of an open device.
#pragma once

#include <cstddef>

#include "core/backend.h"
#include "cuda/simt.h"

namespace diffusion {

struct Stream {
  int ordinal = 0;
  cudaStream_t handle = nullptr;

  // Temporary device memory of an operation: its contents do not survive the operation, its address is stable as long
  // as no larger one is asked for (so a captured graph keeps what it was recorded with). One array a slot. Throws
  // Error(out_of_memory).
  static constexpr int kScratchSlots = 4;
  void* scratch(int slot, size_t bytes);
  float* scratch_floats(int slot, size_t count) { return static_cast<float*>(scratch(slot, count * sizeof(float))); }
  // A device word that kernels set when an index is out of range: see fail_later() in runtime/status.h.
  struct Impl;
  Impl* impl = nullptr;
};

namespace cuda {
// Throws Error(device) naming the operation and CUDA's own name when a call failed.
void check(const char* operation, cudaError_t status);
// After LAUNCH: reports a launch that was refused.
void check_launch(const char* operation);
// A device word that is 0 between operations: the blocks of a kernel count themselves in it, and the last one clears
// it.
unsigned* arrivals(Stream& stream);
}  // namespace cuda

}  // namespace diffusion
