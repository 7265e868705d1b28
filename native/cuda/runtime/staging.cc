#include "cuda/runtime/staging.h"

#include <algorithm>
#include <cstring>

#include "cuda/runtime/stream.h"

namespace diffusion::cuda {

Staging::Staging(const char* operation, cudaStream_t stream) : stream_(stream) {
  try {
    for (Slot& slot : slots_) {
      check(operation, cudaHostAlloc(reinterpret_cast<void**>(&slot.data), kSlotBytes, cudaHostAllocDefault));
      check(operation, cudaEventCreateWithFlags(&slot.free, cudaEventDisableTiming));
    }
  } catch (...) {
    release();
    throw;
  }
}

Staging::~Staging() { release(); }

void Staging::release() {
  for (Slot& slot : slots_) {
    if (slot.free != nullptr) cudaEventDestroy(slot.free);
    if (slot.data != nullptr) cudaFreeHost(slot.data);
  }
}

Staging::Slot& Staging::next() {
  Slot& slot = slots_[turn_++ % kSlots];
  check("copy", cudaEventSynchronize(slot.free));
  return slot;
}

void Staging::upload(void* device, const void* host, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kSlotBytes) {
    const size_t part = std::min(kSlotBytes, bytes - at);
    Slot& slot = next();
    std::memcpy(slot.data, static_cast<const char*>(host) + at, part);
    check("upload", cudaMemcpyAsync(static_cast<char*>(device) + at, slot.data, part, cudaMemcpyHostToDevice, stream_));
    check("upload", cudaEventRecord(slot.free, stream_));
  }
}

// One slot is emptied while the device fills the next.
void Staging::download(void* host, const void* device, size_t bytes) {
  Slot* filling = nullptr;
  size_t filling_at = 0;
  const auto empty = [&] {
    check("download", cudaEventSynchronize(filling->free));
    std::memcpy(static_cast<char*>(host) + filling_at, filling->data, std::min(kSlotBytes, bytes - filling_at));
  };
  for (size_t at = 0; at < bytes; at += kSlotBytes) {
    const size_t part = std::min(kSlotBytes, bytes - at);
    Slot& slot = next();
    check("download",
          cudaMemcpyAsync(slot.data, static_cast<const char*>(device) + at, part, cudaMemcpyDeviceToHost, stream_));
    check("download", cudaEventRecord(slot.free, stream_));
    if (filling != nullptr) empty();
    filling = &slot;
    filling_at = at;
  }
  if (filling != nullptr) empty();
}

}  // namespace diffusion::cuda
