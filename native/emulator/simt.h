// The dialect of native/cuda/simt.h for g++: the threads of a kernel run as fibers on the CPU, and what would be
// undefined on a GPU becomes a fault that names kernel, block and thread.
#pragma once

#include "emulator/global_memory.h"
#include "emulator/launch.h"
#include "emulator/math.h"
#include "emulator/types.h"
#include "emulator/warp.h"

#define __device__
#define __host__
#define __global__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

#define DEVICE inline
#define KERNEL(...) void
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  ::diffusion::emulator::launch(#kernel, kernel, grid, block, shared_bytes, stream __VA_OPT__(, ) __VA_ARGS__)
#define DYN_SMEM(T, name) T* name = reinterpret_cast<T*>(::diffusion::emulator::shared_memory())

namespace diffusion::emulator {

// A thread stays what it is from its beginning to its end, so a kernel needs to ask once only.
__attribute__((const)) uint3 thread_index();
__attribute__((const)) uint3 block_index();
__attribute__((const)) uint3 block_size();
__attribute__((const)) uint3 grid_size();
__attribute__((const)) unsigned char* shared_memory();
void barrier(int line);

}  // namespace diffusion::emulator

#define threadIdx (::diffusion::emulator::thread_index())
#define blockIdx (::diffusion::emulator::block_index())
#define blockDim (::diffusion::emulator::block_size())
#define gridDim (::diffusion::emulator::grid_size())
#define warpSize 32
#define __syncthreads() ::diffusion::emulator::barrier(__LINE__)
