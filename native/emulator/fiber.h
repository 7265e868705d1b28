// A fiber: a stack and the registers that survive a call. Each thread of a block runs on one; a fiber stays on the OS
// thread that started it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace diffusion::emulator {

// Saves the caller's registers on its stack and that stack's pointer in *save, and continues where `load` was saved.
extern "C" void diffusion_emulator_switch(void** save, void* load);

// The stack pointer of a fiber that will enter `entry` when it is first switched to; `top` is one past its stack,
// 16-byte aligned.
void* prepare_fiber(void* top, void (*entry)());

// Stacks of equal size with an unmapped page below each, so that an overflow does not write into a neighbour.
class Stacks {
 public:
  Stacks() = default;
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  void require(size_t count);  // throws std::bad_alloc
  uintptr_t start() const { return reinterpret_cast<uintptr_t>(base_); }
  size_t bytes() const { return count_ * kStride; }
  // Staggered, so that the same frame of different threads does not fall into the same set of the processor's caches.
  void* top(size_t index) const { return base_ + (index + 1) * kStride - index * kStagger % kSpread; }

 private:
  static constexpr size_t kGuard = 65536, kStride = 262144;  // page sizes reach 64 KB on some machines
  static constexpr size_t kStagger = 17 * 64, kSpread = 32768;
  char* base_ = nullptr;
  size_t count_ = 0;
};

}  // namespace diffusion::emulator
