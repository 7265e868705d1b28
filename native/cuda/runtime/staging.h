// Uploads from ordinary host memory, through a ring of page-locked slots.
#pragma once

#include <array>
#include <cstddef>

#include "cuda/simt.h"

namespace diffusion::cuda {

class Staging {
 public:
  explicit Staging(cudaStream_t stream);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Has read the host's memory when it returns; the data may still be on its way, in the order of the stream. Waits
  // only where all slots are on their way.
  void upload(void* device, const void* host, size_t bytes);

 private:
  static constexpr size_t kSlots = 4, kSlotBytes = size_t{1} << 20;
  struct Slot {
    char* data = nullptr;
    cudaEvent_t left = nullptr;  // recorded behind the last copy from the slot
  };
  void release();
  void next_slot();

  cudaStream_t stream_;
  std::array<Slot, kSlots> slots_;
  size_t slot_ = 0, filled_ = 0;
};

}  // namespace diffusion::cuda
