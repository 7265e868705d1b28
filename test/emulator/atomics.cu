// Atomic operations, against what they have to leave behind.
#include "cases.h"

namespace {

constexpr int kThreads = 64, kBlocks = 20;

struct Results {
  float sum;
  int count, least, most;
  unsigned turn, bits;
  int owner, wraps;
};

KERNEL(kThreads) everything(Results* r) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(&r->sum, 1.0f);
  atomicAdd(&r->count, 2);
  atomicMin(&r->least, 100 - i);
  atomicMax(&r->most, i - 100);
  atomicOr(&r->bits, 1u << (i % 32));
  if (atomicInc(&r->turn, 9) == 9) atomicAdd(&r->wraps, 1);
  if (atomicCAS(&r->owner, -1, i) == -1) atomicAdd(&r->count, 1);
}

// The last block to come adds what all have written.
KERNEL(kThreads) last_block(float* parts, unsigned* counter, float* y) {
  DYN_SMEM(unsigned, turn);
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = static_cast<float>(blockIdx.x);
    __threadfence();
    turn[0] = atomicInc(counter, gridDim.x - 1);
  }
  __syncthreads();
  if (turn[0] != gridDim.x - 1) return;
  __threadfence();
  if (threadIdx.x != 0) return;
  float sum = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += __ldcg(parts + i);
  y[0] = sum;
}

std::string atomics() {
  auto* device = cases::on_device(std::vector<Results>{{0, 0, 0, 0, 0, 0, -1, 0}});
  LAUNCH(everything, kBlocks, kThreads, 0, nullptr, device);
  Results r;
  cudaMemcpy(&r, device, sizeof r, cudaMemcpyDeviceToHost);
  constexpr int kAll = kThreads * kBlocks;
  const bool sound = r.sum == kAll && r.count == 2 * kAll + 1 && r.least == 101 - kAll && r.most == kAll - 101 &&
                     r.turn == 0 && r.bits == 0xffffffffu && r.owner >= 0 && r.wraps == kAll / 10;
  return sound ? "sound" : "wrong";
}

std::string by_the_last_block() {
  float* y = cases::on_device(std::vector<float>{NAN});
  auto* parts = cases::on_device(std::vector<float>(kBlocks, NAN));
  auto* counter = cases::on_device(std::vector<unsigned>{0});
  return cases::compare(y, {kBlocks * (kBlocks - 1) / 2.0f}, 0, [&](cudaStream_t stream) {
    LAUNCH(last_block, kBlocks, kThreads, 4, stream, parts, counter, y);
  });
}

const cases::Add more = {
    {"atomics", atomics},
    {"sum by the last block", by_the_last_block},
};

}  // namespace
