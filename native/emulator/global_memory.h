// CUDA's functions on memory that blocks share: loads and stores with advice for a cache, atomic operations, fences.
#pragma once

#include <concepts>
#include <type_traits>

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

// Each returns what was there before. Blocks run on several OS threads, so these are atomic here, too.
#define DIFFUSION_ATOMICS(T)                \
  T atomicAdd(T* address, T value);         \
  T atomicExch(T* address, T value);        \
  T atomicCAS(T* address, T seen, T value); \
  T atomicMax(T* address, T value);         \
  T atomicMin(T* address, T value);         \
  T atomicOr(T* address, T value);
DIFFUSION_ATOMICS(int)
DIFFUSION_ATOMICS(unsigned)
DIFFUSION_ATOMICS(unsigned long long)
#undef DIFFUSION_ATOMICS
float atomicAdd(float* address, float value);
unsigned atomicInc(unsigned* address, unsigned last);  // counts up to `last`, then from 0 again

void __threadfence();
void __threadfence_block();
