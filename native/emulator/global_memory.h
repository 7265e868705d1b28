// CUDA's functions on memory that blocks share: cached loads and stores, atomic operations, fences.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

// Loads and stores with advice for a cache: plain ones here.
#define DIFFUSION_LOAD(name)        \
  template <class T>                \
  inline T name(const T* address) { \
    return *address;                \
  }
#define DIFFUSION_STORE(name)                                   \
  template <class T>                                            \
  inline void name(T* address, std::type_identity_t<T> value) { \
    *address = value;                                           \
  }
DIFFUSION_LOAD(__ldg)
DIFFUSION_LOAD(__ldca)
DIFFUSION_LOAD(__ldcg)
DIFFUSION_LOAD(__ldcs)
DIFFUSION_LOAD(__ldcv)
DIFFUSION_STORE(__stcg)
DIFFUSION_STORE(__stcs)
DIFFUSION_STORE(__stwt)
#undef DIFFUSION_LOAD
#undef DIFFUSION_STORE

// Blocks run on several OS threads, so these are atomic here, too.
namespace diffusion::emulator {

// Writes next(old) until nobody came in between; returns the old value.
template <class T, class F>
inline T exchange_by(T* address, const F& next) {
  T seen = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(address, &seen, next(seen), false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
  }
  return seen;
}

template <class T>
concept AtomicInteger = std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>;

}  // namespace diffusion::emulator

inline float atomicAdd(float* address, float value) {
  const uint32_t old = diffusion::emulator::exchange_by(reinterpret_cast<uint32_t*>(address), [=](uint32_t bits) {
    return std::bit_cast<uint32_t>(std::bit_cast<float>(bits) + value);
  });
  return std::bit_cast<float>(old);
}
template <diffusion::emulator::AtomicInteger T>
inline T atomicAdd(T* address, std::type_identity_t<T> value) {
  return diffusion::emulator::exchange_by(address, [=](T old) { return old + value; });
}
template <diffusion::emulator::AtomicInteger T>
inline T atomicExch(T* address, std::type_identity_t<T> value) {
  return diffusion::emulator::exchange_by(address, [=](T) { return value; });
}
template <diffusion::emulator::AtomicInteger T>
inline T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return diffusion::emulator::exchange_by(address, [=](T old) { return old == expected ? value : old; });
}
template <diffusion::emulator::AtomicInteger T>
inline T atomicMax(T* address, std::type_identity_t<T> value) {
  return diffusion::emulator::exchange_by(address, [=](T old) { return old < value ? value : old; });
}
template <diffusion::emulator::AtomicInteger T>
inline T atomicMin(T* address, std::type_identity_t<T> value) {
  return diffusion::emulator::exchange_by(address, [=](T old) { return value < old ? value : old; });
}
template <diffusion::emulator::AtomicInteger T>
inline T atomicOr(T* address, std::type_identity_t<T> value) {
  return diffusion::emulator::exchange_by(address, [=](T old) { return old | value; });
}
// Counts up to `last`, then from 0 again.
inline unsigned atomicInc(unsigned* address, unsigned last) {
  return diffusion::emulator::exchange_by(address, [=](unsigned old) { return old >= last ? 0 : old + 1; });
}

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() {}
