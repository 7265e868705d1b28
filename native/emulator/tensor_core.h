// What native/cuda/ptx.cuh wraps, on the CPU: asynchronous copies, ldmatrix and mma. Addresses are checked by the lane
// that gives them, the arithmetic is done by the last lane that arrives.
#pragma once

#include <cstdint>

#include "emulator/block.h"

namespace diffusion::emulator {

void cp_async_16(void* shared, const void* global, bool valid);
void cp_async_commit();
void cp_async_wait_group(size_t pending);
template <int kPending>
void cp_async_wait() {
  static_assert(kPending >= 0);
  cp_async_wait_group(kPending);
}

void ldmatrix_x4(uint32_t (&r)[4], const void* row);
void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row);
void ldmatrix_x2(uint32_t (&r)[2], const void* row);
void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row);

void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
uint32_t pack_bf16(float low, float high);

}  // namespace diffusion::emulator
