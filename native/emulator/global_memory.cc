#include "emulator/global_memory.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "emulator/access.h"

namespace {

// Writes next(old) unless somebody came in between, then again; returns the old value.
template <class T, class F>
T exchange_by(T* address, const F& next) {
  T seen;
  diffusion::emulator::check_atomic(address, sizeof *address, [&] {
    seen = __atomic_load_n(address, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(address, &seen, next(seen), false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
    }
  });
  return seen;
}

}  // namespace

#define DIFFUSION_ATOMICS(T)                                                                             \
  T atomicAdd(T* address, T value) {                                                                     \
    return exchange_by(address, [=](T old) { return static_cast<T>(uint64_t(old) + uint64_t(value)); }); \
  }                                                                                                      \
  T atomicExch(T* address, T value) {                                                                    \
    return exchange_by(address, [=](T) { return value; });                                               \
  }                                                                                                      \
  T atomicCAS(T* address, T seen, T value) {                                                             \
    return exchange_by(address, [=](T old) { return old == seen ? value : old; });                       \
  }                                                                                                      \
  T atomicMax(T* address, T value) {                                                                     \
    return exchange_by(address, [=](T old) { return std::max(old, value); });                            \
  }                                                                                                      \
  T atomicMin(T* address, T value) {                                                                     \
    return exchange_by(address, [=](T old) { return std::min(old, value); });                            \
  }                                                                                                      \
  T atomicOr(T* address, T value) {                                                                      \
    return exchange_by(address, [=](T old) { return old | value; });                                     \
  }
DIFFUSION_ATOMICS(int)
DIFFUSION_ATOMICS(unsigned)
DIFFUSION_ATOMICS(unsigned long long)
#undef DIFFUSION_ATOMICS

float atomicAdd(float* address, float value) {
  const uint32_t old = exchange_by(reinterpret_cast<uint32_t*>(address), [=](uint32_t bits) {
    return std::bit_cast<uint32_t>(std::bit_cast<float>(bits) + value);
  });
  return std::bit_cast<float>(old);
}

unsigned atomicInc(unsigned* address, unsigned last) {
  return exchange_by(address, [=](unsigned old) { return old >= last ? 0 : old + 1; });
}

void __threadfence() {
  diffusion::emulator::note_fence();
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void __threadfence_block() {}
