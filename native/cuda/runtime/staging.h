// Copies between the device and ordinary host memory, through a ring of page-locked slots.
#pragma once

#include <array>
#include <cstddef>

#include "cuda/simt.h"

namespace diffusion::cuda {

class Staging {
 public:
  Staging(const char* operation, cudaStream_t stream);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Both have read or written the host's memory when they return. An upload may still be on its way to the device, in
  // the order of the stream; a download waits for the stream.
  void upload(void* device, const void* host, size_t bytes);
  void download(void* host, const void* device, size_t bytes);

 private:
  static constexpr size_t kSlots = 4, kSlotBytes = size_t{1} << 20;
  struct Slot {
    char* data = nullptr;
    cudaEvent_t free = nullptr;  // recorded after the copy that uses the slot
  };
  void release();
  Slot& next();

  cudaStream_t stream_;
  std::array<Slot, kSlots> slots_;
  size_t turn_ = 0;
};

}  // namespace diffusion::cuda
