// Accesses that go where they must not: past an allocation, to memory of the other side, or where another block of the
// launch has been.
#include <cstring>

#include "cases.h"
#include "emulator/operands.h"

namespace {

using namespace diffusion::emulator;

constexpr int kThreads = 32, kBlocks = 6, kFloats = kThreads * kBlocks;
constexpr float kOne = 1;

// y[i] = x[i + offset]: each thread one element.
KERNEL(kThreads) copy(const float* x, float* y, int from, int to) {
  const auto i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  y[i + to] = x[i + from];
}

KERNEL(kThreads) misaligned(const float* x, float* y) {
  const auto* pairs = reinterpret_cast<const double*>(x + 1);
  reinterpret_cast<double*>(y)[threadIdx.x] = pairs[threadIdx.x];
}

// Every block writes the same element.
KERNEL(kThreads) same_element(float* y) {
  if (threadIdx.x == 0) y[3] = 1;
}

// Every block writes one half of the same word: no race.
KERNEL(kThreads) same_word(uint16_t* y) {
  if (threadIdx.x == 0) y[blockIdx.x] = 7;
}

// Block i writes y[i] and reads what block i − 1 should have written.
KERNEL(kThreads) chain(float* y) {
  if (threadIdx.x != 0) return;
  y[blockIdx.x] = blockIdx.x == 0 ? 1 : y[blockIdx.x - 1] + 1;
}

// In place, and every element needs its right neighbour: wrong at the borders of the blocks only.
KERNEL(kThreads) shift(float* y) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  const float next = i + 1 < kFloats ? y[i + 1] : 0;
  __syncthreads();
  y[i] = next;
}

KERNEL(kThreads) sum_and_read(float* sum, float* y) {
  if (threadIdx.x != 0) return;
  atomicAdd(sum, 1.0f);
  y[blockIdx.x] = *sum;
}

// The last block to come reads what all have written; without the fence it may read what was there before.
KERNEL(kThreads) last_block(float* parts, unsigned* counter, float* y) {
  if (threadIdx.x != 0) return;
  parts[blockIdx.x] = 1;
  if (atomicInc(counter, gridDim.x - 1) != gridDim.x - 1) return;
  y[0] = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) y[0] += parts[i];
}

const std::vector<float> ones(kFloats, 1.0f);

template <class Launch>
cases::Case on_ones(const Launch& launch) {
  return [launch] {
    float* x = cases::on_device(ones);
    float* y = cases::on_device(ones);
    return cases::compare(y, ones, 0, [&](cudaStream_t stream) { launch(stream, x, y); });
  };
}

cases::Case copied(int from, int to) {
  return on_ones([=](cudaStream_t s, float* x, float* y) { LAUNCH(copy, kBlocks, kThreads, 0, s, x, y, from, to); });
}

// Two tensors side by side in mapped memory, as a pool has them, and a third that is no operand.
cases::Case in_a_pool(int from, int to, Operand::Use second = Operand::Use::overwrite, bool whole = true) {
  return [=] {
    constexpr size_t kBytes = kFloats * sizeof(float);
    auto* slab = static_cast<char*>(reserve_range(4 * kBytes));
    map_range(slab, 4 * kBytes, false);
    for (size_t i = 0; i < 3; ++i) cudaMemcpy(slab + i * kBytes, ones.data(), kBytes, cudaMemcpyHostToDevice);
    auto* x = reinterpret_cast<float*>(slab);
    auto* y = reinterpret_cast<float*>(slab + kBytes);
    return cases::compare(y, ones, 0, [=](cudaStream_t stream) {
      const Using operands(stream, {{x, kBytes, Operand::Use::read}, {y, kBytes, second}});
      LAUNCH(copy, whole ? kBlocks : kBlocks - 1, kThreads, 0, stream, x, y, from, to);
    });
  };
}

std::string freed() {
  float* x = cases::on_device(ones);
  float* y = cases::on_device(ones);
  cudaFree(x);
  return cases::compare(y, ones, 0, [=](cudaStream_t s) { LAUNCH(copy, kBlocks, kThreads, 0, s, x, y, 0, 0); });
}

const cases::Add more = {
    {"copy", copied(0, 0)},
    {"write past the end", copied(0, 1)},
    {"write before the start", copied(0, -1)},
    {"read past the end", copied(2, 0)},
    {"tensors of a pool", in_a_pool(0, 0)},
    {"write past a tensor", in_a_pool(0, 5)},
    {"read before a tensor", in_a_pool(-5, 0)},
    {"write to what is only read", in_a_pool(0, 0, Operand::Use::read)},
    {"tensor not wholly written", in_a_pool(0, 0, Operand::Use::overwrite, false)},
    {"read of freed memory", freed},
    {"misaligned access", on_ones([](cudaStream_t s, float* x, float* y) { LAUNCH(misaligned, 1, 8, 0, s, x, y); })},
    {"kernel reads host memory",
     on_ones([](cudaStream_t s, float*, float* y) { LAUNCH(copy, kBlocks, kThreads, 0, s, ones.data(), y, 0, 0); })},
    {"host reads device memory", on_ones([](cudaStream_t, float* x, float*) {
       if (*static_cast<volatile float*>(x) == 2) cudaDeviceSynchronize();
     })},
    {"host writes device memory",
     on_ones([](cudaStream_t, float*, float* y) { *static_cast<volatile float*>(y) = 1; })},
    {"host copies device memory", on_ones([](cudaStream_t, float* x, float*) {
       float value;
       void* (*volatile copy_bytes)(void*, const void*, size_t) = memcpy;  // not compiled here: the processor notices
       copy_bytes(&value, x, sizeof value);
     })},
    {"copy past the end", on_ones([](cudaStream_t s, float* x, float* y) {
       cudaMemcpyAsync(y, x + 1, kFloats * sizeof(float), cudaMemcpyDeviceToDevice, s);
     })},
    {"copy in the wrong direction", on_ones([](cudaStream_t s, float*, float* y) {
       cudaMemcpyAsync(y, &kOne, sizeof kOne, cudaMemcpyDeviceToDevice, s);
     })},
    {"two blocks write an element",
     on_ones([](cudaStream_t s, float*, float* y) { LAUNCH(same_element, kBlocks, kThreads, 0, s, y); })},
    {"two blocks write a word", on_ones([](cudaStream_t s, float* x, float*) {
       LAUNCH(same_word, kBlocks, kThreads, 0, s, reinterpret_cast<uint16_t*>(x));
     })},
    {"block relies on another",
     on_ones([](cudaStream_t s, float*, float* y) { LAUNCH(chain, kBlocks, kThreads, 0, s, y); })},
    {"block overwrites what another reads",
     on_ones([](cudaStream_t s, float*, float* y) { LAUNCH(shift, kBlocks, kThreads, 0, s, y); })},
    {"block reads a sum under way",
     on_ones([](cudaStream_t s, float* x, float* y) { LAUNCH(sum_and_read, kBlocks, kThreads, 0, s, x, y); })},
    {"last block without a fence", on_ones([](cudaStream_t s, float* x, float* y) {
       auto* counter = reinterpret_cast<unsigned*>(x + kFloats - 1);
       cudaMemsetAsync(counter, 0, 4, s);
       LAUNCH(last_block, kBlocks, kThreads, 0, s, x, counter, y);
     })},
};

}  // namespace
