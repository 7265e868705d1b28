// Kernels with one fault each, and what the emulator makes of them: `emulator_faults <name>` prints what was reported,
// and "sound" when nothing was. faults.test.ts has the expectations.
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cuda/simt.h"

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

struct Case {
  cudaStream_t stream;
  float *x, *y;
};

using Launch = std::function<void(const Case&)>;
constexpr size_t kTile = kThreads * sizeof(float);

const std::map<std::string, Launch> cases = {
    {"sound", [](const Case& c) { LAUNCH((reverse<true>), 1, kThreads, kTile, c.stream, c.x, c.y); }},
    {"missing barrier", [](const Case& c) { LAUNCH((reverse<false>), 1, kThreads, kTile, c.stream, c.x, c.y); }},
    {"shared memory, past the end",
     [](const Case& c) { LAUNCH(past_the_end, 1, kThreads, kTile, c.stream, c.x, c.y, 1); }},
    {"shared memory, before the start",
     [](const Case& c) { LAUNCH(past_the_end, 1, kThreads, kTile, c.stream, c.x, c.y, -1); }},
    {"barrier of half a block", [](const Case& c) { LAUNCH(half_a_block, 1, kThreads, kTile, c.stream, c.x, c.y); }},
    {"two barriers", [](const Case& c) { LAUNCH(two_barriers, 1, kThreads, kTile, c.stream, c.x, c.y); }},
    {"left before a barrier",
     [](const Case& c) { LAUNCH(left_before_a_barrier, 1, kThreads, kTile, c.stream, c.x, c.y, 50); }},
    {"left before a shuffle",
     [](const Case& c) { LAUNCH(left_before_a_shuffle, 1, kThreads, 0, c.stream, c.x, c.y, 50); }},
    {"mask without the caller", [](const Case& c) { LAUNCH(narrow_mask, 1, kThreads, 0, c.stream, c.x, c.y); }},
    {"shuffle of half a warp", [](const Case& c) { LAUNCH(half_a_warp, 1, kThreads, 0, c.stream, c.x, c.y); }},
    {"two operations", [](const Case& c) { LAUNCH(other_operation, 1, kThreads, 0, c.stream, c.x, c.y); }},
    {"lane outside the mask", [](const Case& c) { LAUNCH(outside_the_mask, 1, kThreads, 0, c.stream, c.x, c.y); }},
    {"far away", [](const Case& c) { LAUNCH(far_away, 1, kThreads, 0, c.stream, c.x, c.y); }},
    {"stack overflow", [](const Case& c) { LAUNCH(deep, 1, kThreads, 0, c.stream, c.x, c.y); }},
    {"too many threads", [](const Case& c) { LAUNCH((reverse<true>), 1, 1025, kTile, c.stream, c.x, c.y); }},
    {"empty grid", [](const Case& c) { LAUNCH((reverse<true>), 0, kThreads, kTile, c.stream, c.x, c.y); }},
    {"grid too high",
     [](const Case& c) { LAUNCH((reverse<true>), dim3(1, 65536), kThreads, kTile, c.stream, c.x, c.y); }},
    {"shared memory, not asked for",
     [](const Case& c) { LAUNCH((reverse<true>), 1, kThreads, (48 << 10) + 1, c.stream, c.x, c.y); }},
    {"shared memory, asked for",
     [](const Case& c) {
       cudaFuncSetAttribute(reverse<true>, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10);
       LAUNCH((reverse<true>), 1, kThreads, 64 << 10, c.stream, c.x, c.y);
     }},
    {"shared memory, more than there is",
     [](const Case&) {
       cudaFuncSetAttribute(reverse<true>, cudaFuncAttributeMaxDynamicSharedMemorySize, (227 << 10) + 1);
     }},
    {"allocation while capturing",
     [](const Case& c) {
       cudaGraph_t graph;
       float* memory;
       cudaStreamBeginCapture(c.stream, cudaStreamCaptureModeGlobal);
       const cudaError_t refused = cudaMalloc(&memory, 4);
       printf("%s, ", cudaGetErrorName(refused));
       cudaStreamEndCapture(c.stream, &graph);
     }},
    {"graph",
     [](const Case& c) {
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
     }},
};

std::string report(const Launch& launch) {
  Case c{};
  cudaStreamCreateWithFlags(&c.stream, cudaStreamNonBlocking);
  cudaMalloc(&c.x, kTile);
  cudaMalloc(&c.y, kTile);
  std::vector<float> x(kThreads), y(kThreads);
  for (int i = 0; i < kThreads; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i + 1);
  cudaMemcpyAsync(c.x, x.data(), kTile, cudaMemcpyHostToDevice, c.stream);
  cudaStreamSynchronize(c.stream);
  launch(c);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return cudaGetErrorName(error);
  cudaMemcpyAsync(y.data(), c.y, kTile, cudaMemcpyDeviceToHost, c.stream);
  if (const cudaError_t error = cudaStreamSynchronize(c.stream); error != cudaSuccess) {
    // Sticky: everything after it fails, too.
    float* more;
    return std::string(cudaMalloc(&more, 4) == error ? "sticky: " : "not sticky: ") + cudaGetErrorString(error);
  }
  int wrong = 0;
  for (int i = 0; i < kThreads; ++i) wrong += std::isnan(y[static_cast<size_t>(i)]);
  return wrong > 0 ? "NaN" : y[0] == kThreads ? "sound" : "wrong";
}

}  // namespace

int main(int count, char** arguments) {
  const auto found = cases.find(count > 1 ? arguments[1] : "");
  if (found == cases.end()) {
    for (const auto& [name, launch] : cases) printf("%s\n", name.c_str());
    return 2;
  }
  printf("%s\n", report(found->second).c_str());
  return 0;
}
