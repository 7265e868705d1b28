// The instructions of the tensor cores (sm_80 and later), as thin wrappers: inline PTX for nvcc, native/emulator for
// g++.
//
//   cp_async_16      16 bytes from global to shared memory, in the background; a group is what was begun since the last
//                    commit. Only the thread that began a copy can wait for it; the others see it after a barrier.
//   ldmatrix         8×8 matrices of 16-bit elements out of shared memory: the lanes 8m … 8m + 7 give the addresses of
//                    the rows of matrix m; lane l receives in r[m] the elements (l / 4, 2 (l % 4)) and its right
//                    neighbour, transposed (2 (l % 4), l / 4) and the one below. x2: the lanes 16 … 31 give nothing.
//   mma_bf16         d[16, 8] += a[16, 16] · b[16, 8]. With g = l / 4 and t = 2 (l % 4), lane l holds, each with its
//                    neighbour in the upper half (a: the next column, b: the next row):
//                      a[0] (g, t)  a[1] (g + 8, t)  a[2] (g, t + 8)  a[3] (g + 8, t + 8)
//                      b[0] (t, g)  b[1] (t + 8, g)
//                      d[0] (g, t)  d[1] (g, t + 1)  d[2] (g + 8, t)  d[3] (g + 8, t + 1)
//
// Except for the copies, all 32 lanes of a warp take part.
#pragma once

#include <cstdint>

#include "cuda/simt.h"

#if defined(DIFFUSION_EMULATOR)
#include "emulator/tensor_core.h"
#endif

namespace diffusion::cuda {

#if defined(DIFFUSION_EMULATOR)

using emulator::cp_async_16;
using emulator::cp_async_commit;
using emulator::cp_async_wait;
using emulator::ldmatrix_x2;
using emulator::ldmatrix_x2_trans;
using emulator::ldmatrix_x4;
using emulator::ldmatrix_x4_trans;
using emulator::mma_bf16;
using emulator::pack_bf16;

#else

DEVICE uint32_t shared_address(const void* pointer) { return static_cast<uint32_t>(__cvta_generic_to_shared(pointer)); }

// Both 16-byte aligned. Where `valid` is false zeros arrive, and global memory is not touched.
DEVICE void cp_async_16(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
               : "memory");
}

DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Until at most kPending of this thread's newest groups are under way.
template <int kPending>
DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

DEVICE void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}

DEVICE void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}

DEVICE void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Both rounded to nearest even.
DEVICE uint32_t pack_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

#endif

}  // namespace diffusion::cuda
