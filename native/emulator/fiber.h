// A fiber: a stack and the registers that survive a call. Each thread of a block runs on one; a fiber stays on the OS
// thread that started it.
#pragma once

#include <cstddef>
#include <cstdint>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace diffusion::emulator {

// Saves the caller's registers on its stack and that stack's pointer in *save, and continues where `load` was saved.
extern "C" void diffusion_emulator_switch(void** save, void* load);

// For functions whose frames are abandoned on a stack that is used again: AddressSanitizer must not mark what lies in
// them.
#define DIFFUSION_ABANDONED __attribute__((no_sanitize("address")))

struct StackBounds {
  const void* bottom = nullptr;
  size_t bytes = 0;
};
StackBounds stack_of_this_thread();  // as the system made it

// The same, and AddressSanitizer, where there is one, learns which stack is in use from now on. for_good: the caller's
// will not be continued.
DIFFUSION_ABANDONED inline void switch_stack(void** save, void* load, [[maybe_unused]] const StackBounds& to,
                                             [[maybe_unused]] bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
  void* frames = nullptr;
  __sanitizer_start_switch_fiber(for_good ? nullptr : &frames, to.bottom, to.bytes);
  diffusion_emulator_switch(save, load);
  __sanitizer_finish_switch_fiber(frames, nullptr, nullptr);
#else
  diffusion_emulator_switch(save, load);
#endif
}

// The first thing that a fiber does on a stack that nobody has used, or whose frames were abandoned.
inline void begin_fiber() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

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
  StackBounds bounds(size_t index) const { return {base_ + index * kStride + kGuard, kStride - kGuard}; }
  void forget_frames();  // after some were abandoned
  // Staggered, so that the same frame of different threads does not fall into the same set of the processor's caches.
  void* top(size_t index) const { return base_ + (index + 1) * kStride - index * kStagger % kSpread; }

 private:
  static constexpr size_t kGuard = 65536, kStride = 262144;  // page sizes reach 64 KB on some machines
  static constexpr size_t kStagger = 17 * 64, kSpread = 32768;
  char* base_ = nullptr;
  size_t count_ = 0;
};

}  // namespace diffusion::emulator
