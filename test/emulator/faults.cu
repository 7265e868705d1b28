// Kernels with one fault each: barriers, collectives, shared memory, limits.
#include <cstdio>

#include "cases.h"

namespace {

constexpr int kThreads = 96;
constexpr unsigned kAllLanes = 0xffffffffu;

// y[i] = x[n − 1 − i] by way of shared memory.
template <bool kWithBarrier>
KERNEL(kThreads)
reverse(const float* x, float* y) {
  DYN_SMEM(float, tile);
  tile[threadIdx.x] = x[threadIdx.x];
  if (kWithBarrier) __syncthreads();
  y[threadIdx.x] = tile[kThreads - 1 - threadIdx.x];
}

KERNEL(kThreads) past_the_end(const float* x, float* y, int from) {
  DYN_SMEM(float, tile);
  tile[static_cast<int>(threadIdx.x) + from] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x];
}

KERNEL(kThreads) half_a_block(const float* x, float* y) {
  DYN_SMEM(float, tile);
  tile[threadIdx.x] = x[threadIdx.x];
  if (threadIdx.x < kThreads / 2) __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x];
}

KERNEL(kThreads) two_barriers(const float* x, float* y) {
  DYN_SMEM(float, tile);
  tile[threadIdx.x] = x[threadIdx.x];
  if (threadIdx.x < kThreads / 2)
    __syncthreads();
  else
    __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x];
}

KERNEL(kThreads) left_before_a_barrier(const float* x, float* y, int n) {
  DYN_SMEM(float, tile);
  if (static_cast<int>(threadIdx.x) >= n) return;
  tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x];
}

KERNEL(kThreads) left_before_a_shuffle(const float* x, float* y, int n) {
  if (static_cast<int>(threadIdx.x) >= n) return;
  y[threadIdx.x] = __shfl_xor_sync(kAllLanes, x[threadIdx.x], 1);
}

KERNEL(kThreads) narrow_mask(const float* x, float* y) {
  y[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, x[threadIdx.x], 1);
}

KERNEL(kThreads) half_a_warp(const float* x, float* y) {
  float sum = x[threadIdx.x];
  if (threadIdx.x % 32 < 16) sum += __shfl_xor_sync(kAllLanes, sum, 1);
  __syncthreads();
  y[threadIdx.x] = sum;
}

KERNEL(kThreads) other_operation(const float* x, float* y) {
  y[threadIdx.x] = threadIdx.x % 2 == 0 ? __shfl_xor_sync(kAllLanes, x[threadIdx.x], 1)
                                        : __shfl_down_sync(kAllLanes, x[threadIdx.x], 1);
}

// The sum of a warp, read from a lane outside the mask.
KERNEL(kThreads) outside_the_mask(const float* x, float* y) {
  float sum = x[threadIdx.x];
  if (threadIdx.x % 32 < 16) sum += __shfl_down_sync(0x0000ffffu, sum, 16);
  y[threadIdx.x] = sum;
}

KERNEL(kThreads) far_away(const float* x, float* y) { y[threadIdx.x - (int64_t{1} << 42)] = x[threadIdx.x]; }

// Each call needs the next one's result, so that the compiler keeps the frames.
DEVICE __attribute__((noinline)) float descend(float* y, int depth) {
  volatile float frame[256];
  frame[depth % 256] = y[0];
  return depth == 0 ? 0 : descend(y, depth - 1) + frame[(depth + 1) % 256];
}
KERNEL(kThreads) deep(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x] + descend(y, 1000); }

struct Buffers {
  cudaStream_t stream;
  float *x, *y;
};

constexpr size_t kTile = kThreads * sizeof(float);

// Reversed: n, n − 1, … 1.
template <class Launch>
cases::Case reversed(const Launch& launch) {
  return [launch] {
    std::vector<float> x(kThreads), y(kThreads);
    for (int i = 0; i < kThreads; ++i) {
      x[static_cast<size_t>(i)] = static_cast<float>(i + 1);
      y[static_cast<size_t>(i)] = static_cast<float>(kThreads - i);
    }
    float* from = cases::on_device(x);
    float* to = cases::on_device(std::vector<float>(kThreads, NAN));
    return cases::compare(to, y, 0, [&](cudaStream_t stream) { launch(Buffers{stream, from, to}); });
  };
}

const cases::Add more = {
    {"sound", reversed([](const Buffers& c) { LAUNCH((reverse<true>), 1, kThreads, kTile, c.stream, c.x, c.y); })},
    {"missing barrier",
     reversed([](const Buffers& c) { LAUNCH((reverse<false>), 1, kThreads, kTile, c.stream, c.x, c.y); })},
    {"shared memory, past the end",
     reversed([](const Buffers& c) { LAUNCH(past_the_end, 1, kThreads, kTile, c.stream, c.x, c.y, 1); })},
    {"shared memory, before the start",
     reversed([](const Buffers& c) { LAUNCH(past_the_end, 1, kThreads, kTile, c.stream, c.x, c.y, -1); })},
    {"barrier of half a block",
     reversed([](const Buffers& c) { LAUNCH(half_a_block, 1, kThreads, kTile, c.stream, c.x, c.y); })},
    {"two barriers", reversed([](const Buffers& c) { LAUNCH(two_barriers, 1, kThreads, kTile, c.stream, c.x, c.y); })},
    {"left before a barrier",
     reversed([](const Buffers& c) { LAUNCH(left_before_a_barrier, 1, kThreads, kTile, c.stream, c.x, c.y, 50); })},
    {"left before a shuffle",
     reversed([](const Buffers& c) { LAUNCH(left_before_a_shuffle, 1, kThreads, 0, c.stream, c.x, c.y, 50); })},
    {"mask without the caller",
     reversed([](const Buffers& c) { LAUNCH(narrow_mask, 1, kThreads, 0, c.stream, c.x, c.y); })},
    {"shuffle of half a warp",
     reversed([](const Buffers& c) { LAUNCH(half_a_warp, 1, kThreads, 0, c.stream, c.x, c.y); })},
    {"two operations", reversed([](const Buffers& c) { LAUNCH(other_operation, 1, kThreads, 0, c.stream, c.x, c.y); })},
    {"lane outside the mask",
     reversed([](const Buffers& c) { LAUNCH(outside_the_mask, 1, kThreads, 0, c.stream, c.x, c.y); })},
    {"far away", reversed([](const Buffers& c) { LAUNCH(far_away, 1, kThreads, 0, c.stream, c.x, c.y); })},
    {"stack overflow", reversed([](const Buffers& c) { LAUNCH(deep, 1, kThreads, 0, c.stream, c.x, c.y); })},
    {"too many threads",
     reversed([](const Buffers& c) { LAUNCH((reverse<true>), 1, 1025, kTile, c.stream, c.x, c.y); })},
    {"empty grid", reversed([](const Buffers& c) { LAUNCH((reverse<true>), 0, kThreads, kTile, c.stream, c.x, c.y); })},
    {"grid too high",
     reversed([](const Buffers& c) { LAUNCH((reverse<true>), dim3(1, 65536), kThreads, kTile, c.stream, c.x, c.y); })},
    {"shared memory, not asked for",
     reversed([](const Buffers& c) { LAUNCH((reverse<true>), 1, kThreads, (48 << 10) + 1, c.stream, c.x, c.y); })},
    {"shared memory, asked for", reversed([](const Buffers& c) {
       cudaFuncSetAttribute(reverse<true>, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10);
       LAUNCH((reverse<true>), 1, kThreads, 64 << 10, c.stream, c.x, c.y);
     })},
    {"shared memory, more than there is", reversed([](const Buffers&) {
       cudaFuncSetAttribute(reverse<true>, cudaFuncAttributeMaxDynamicSharedMemorySize, (227 << 10) + 1);
     })},
    {"allocation while capturing", reversed([](const Buffers& c) {
       cudaGraph_t graph;
       float* memory;
       cudaStreamBeginCapture(c.stream, cudaStreamCaptureModeGlobal);
       const cudaError_t refused = cudaMalloc(&memory, 4);
       printf("%s, ", cudaGetErrorName(refused));
       cudaStreamEndCapture(c.stream, &graph);
     })},
    {"graph", reversed([](const Buffers& c) {
       cudaGraph_t graph;
       cudaGraphExec_t executable;
       cudaStreamBeginCapture(c.stream, cudaStreamCaptureModeGlobal);
       LAUNCH((reverse<true>), 1, kThreads, kTile, c.stream, c.x, c.y);
       cudaStreamEndCapture(c.stream, &graph);
       cudaGraphInstantiate(&executable, graph, 0);
       cudaGraphLaunch(executable, c.stream);
       cudaStreamSynchronize(c.stream);
       cudaGraphExecDestroy(executable);
       cudaGraphDestroy(graph);
     })},
};

}  // namespace
