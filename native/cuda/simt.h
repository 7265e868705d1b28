// The dialect that kernels are written in: CUDA C++ with a few macros, so that the same sources are compiled by nvcc
// for a GPU and by g++ against native/emulator for the tests.
//
//   KERNEL(threads) name(args) { … }                          a kernel with its launch bound; void. KERNEL(threads,
//                                                             blocks) leaves registers for that many blocks at a time
//   LAUNCH((kernel<T, 4>), grid, block, shared_bytes, stream, args…);
//   DYN_SMEM(T, name)                                         the dynamic shared memory of the block; there is no
//   static one DEVICE T f(…)                                             a function that kernels call
//
// threadIdx, blockIdx, blockDim, gridDim, __syncthreads, __syncwarp, __shfl_*_sync and __ballot_sync are CUDA's own.
// Pointers may be dereferenced in kernels only. Kernel arguments are captured by value: View, numbers, pointers.
#pragma once

#if defined(DIFFUSION_EMULATOR)
#include "emulator/simt.h"
#else
#include <cuda_runtime.h>
#define DEVICE __device__ __forceinline__
#define KERNEL(...) __global__ void __launch_bounds__(__VA_ARGS__)
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)
#define DYN_SMEM(T, name)                                                    \
  extern __shared__ __align__(1024) unsigned char diffusion_shared_memory[]; \
  T* name = reinterpret_cast<T*>(diffusion_shared_memory)
#endif
