// What kernels call for every access to memory: they are compiled with -fsanitize=thread, and these functions stand in
// the place of that sanitizer's library.
#include <cstdint>

#include "emulator/access.h"
#include "emulator/check_access.h"

using diffusion::emulator::check_access;
using diffusion::emulator::current_block;

namespace {

// An aligned access that is not: a fault on a GPU. The compiler promises alignment to 8 bytes at most.
template <bool kWrite, size_t kBytes>
inline void aligned_access(void* address) {
  constexpr size_t kAlignment = kBytes < 8 ? kBytes : 8;
  if (reinterpret_cast<uintptr_t>(address) % kAlignment != 0 && current_block != nullptr) [[unlikely]]
    current_block->fault("%s %zu bytes at %p, which is misaligned", kWrite ? "writes" : "reads", kBytes, address);
  check_access<kWrite, kBytes>(address);
}

}  // namespace

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

#define DIFFUSION_ACCESSES(bytes)                                                            \
  void __tsan_read##bytes(void* address) { aligned_access<false, bytes>(address); }          \
  void __tsan_write##bytes(void* address) { aligned_access<true, bytes>(address); }          \
  void __tsan_unaligned_read##bytes(void* address) { check_access<false, bytes>(address); }  \
  void __tsan_unaligned_write##bytes(void* address) { check_access<true, bytes>(address); }  \
  void __tsan_volatile_read##bytes(void* address) { aligned_access<false, bytes>(address); } \
  void __tsan_volatile_write##bytes(void* address) { aligned_access<true, bytes>(address); }
DIFFUSION_ACCESSES(1)
DIFFUSION_ACCESSES(2)
DIFFUSION_ACCESSES(4)
DIFFUSION_ACCESSES(8)
DIFFUSION_ACCESSES(16)
#undef DIFFUSION_ACCESSES

// Of host code: the guard of a static variable.
unsigned char __tsan_atomic8_load(const volatile void* address, int) {
  return __atomic_load_n(static_cast<const volatile unsigned char*>(address), __ATOMIC_ACQUIRE);
}

void __tsan_read_range(void* address, unsigned long bytes) { check_access<false>(address, bytes); }
void __tsan_write_range(void* address, unsigned long bytes) { check_access<true>(address, bytes); }
}
