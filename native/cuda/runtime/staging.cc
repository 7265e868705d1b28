#include "cuda/runtime/staging.h"

#include <algorithm>
#include <cstring>

#include "core/pool.h"
#include "cuda/runtime/stream.h"

namespace diffusion::cuda {

Staging::Staging(cudaStream_t stream) : stream_(stream) {
  try {
    for (Slot& slot : slots_) {
      check("open", cudaHostAlloc(reinterpret_cast<void**>(&slot.data), kSlotBytes, cudaHostAllocDefault));
      check("open", cudaEventCreateWithFlags(&slot.left, cudaEventDisableTiming | cudaEventBlockingSync));
    }
  } catch (...) {
    release();
    throw;
  }
}

Staging::~Staging() { release(); }

void Staging::release() {
  for (Slot& slot : slots_) {
    if (slot.left != nullptr) cudaEventDestroy(slot.left);
    if (slot.data != nullptr) cudaFreeHost(slot.data);
  }
}

void Staging::next_slot() {
  check("upload", cudaEventRecord(slots_[slot_].left, stream_));
  slot_ = (slot_ + 1) % kSlots;
  check("upload", cudaEventSynchronize(slots_[slot_].left));
  filled_ = 0;
}

void Staging::upload(void* device, const void* host, size_t bytes) {
  for (size_t at = 0; at < bytes;) {
    if (filled_ >= kSlotBytes) next_slot();
    const size_t part = std::min(kSlotBytes - filled_, bytes - at);
    char* data = slots_[slot_].data + filled_;
    std::memcpy(data, static_cast<const char*>(host) + at, part);
    check("upload", cudaMemcpyAsync(static_cast<char*>(device) + at, data, part, cudaMemcpyHostToDevice, stream_));
    filled_ += Pool::rounded(part);
    at += part;
  }
}

}  // namespace diffusion::cuda
