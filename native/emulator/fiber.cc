#include "emulator/fiber.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstring>
#include <new>

// Only what the calling conventions say a callee preserves is saved: six registers on x86-64 (and the floating-point
// control words, which kernels do not change); twelve, and eight halves of vector registers, on aarch64.
#if defined(__x86_64__)
asm(R"(
.text
.type diffusion_emulator_switch, @function
.globl diffusion_emulator_switch
.hidden diffusion_emulator_switch
diffusion_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size diffusion_emulator_switch, .-diffusion_emulator_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.type diffusion_emulator_switch, %function
.globl diffusion_emulator_switch
.hidden diffusion_emulator_switch
diffusion_emulator_switch:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size diffusion_emulator_switch, .-diffusion_emulator_switch
)");
#else
#error "the emulator needs a context switch for this processor"
#endif

namespace diffusion::emulator {

void* prepare_fiber(void* top, void (*entry)()) {
#if defined(__x86_64__)
  // r15 … rbp, the address that `ret` takes, and a null return address above it: entry sees the alignment of a called
  // function.
  constexpr size_t kWords = 8, kEntry = 6;
#else
  constexpr size_t kWords = 20, kEntry = 11;  // x30
#endif
  void** frame = static_cast<void**>(top) - kWords;
  std::memset(frame, 0, kWords * sizeof(void*));
  frame[kEntry] = reinterpret_cast<void*>(entry);
  return frame;
}

StackBounds stack_of_this_thread() {
  pthread_attr_t attributes;
  void* bottom = nullptr;
  size_t bytes = 0;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    pthread_attr_getstack(&attributes, &bottom, &bytes);
    pthread_attr_destroy(&attributes);
  }
  return {bottom, bytes};
}

void Stacks::forget_frames() {
#if defined(__SANITIZE_ADDRESS__)
  for (size_t i = 0; i < count_; ++i) __asan_unpoison_memory_region(bounds(i).bottom, bounds(i).bytes);
#endif
}

Stacks::~Stacks() {
  if (base_ != nullptr) munmap(base_, count_ * kStride);
}

void Stacks::require(size_t count) {
  if (count <= count_) return;
  if (base_ != nullptr) munmap(base_, count_ * kStride);
  base_ = nullptr;
  count_ = 0;
  void* mapped =
      mmap(nullptr, count * kStride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<char*>(mapped);
  count_ = count;
  for (size_t i = 0; i < count; ++i) mprotect(base_ + i * kStride, kGuard, PROT_NONE);
}

}  // namespace diffusion::emulator
