#include "emulator/tensor_core.h"

#include <bit>
#include <cstring>

#include "emulator/access.h"
#include "emulator/device_memory.h"

namespace diffusion::emulator {
namespace {

constexpr uint32_t kAllLanes = 0xffffffffu;
constexpr size_t kRowBytes = 16;

bool aligned(const void* address) { return reinterpret_cast<uintptr_t>(address) % kRowBytes == 0; }

void check_shared(Block& block, const char* operation, const void* address) {
  if (!aligned(address)) block.fault("%s: shared address %p is not 16-byte aligned", operation, address);
  const auto offset =
      static_cast<int64_t>(reinterpret_cast<intptr_t>(address) - reinterpret_cast<intptr_t>(block.shared()));
  if (offset < 0 || static_cast<size_t>(offset) + kRowBytes > block.shared_bytes())
    block.fault("%s: offset %lld is outside the %zu bytes of shared memory", operation, static_cast<long long>(offset),
                block.shared_bytes());
}

struct Rows {
  const void* row;
  uint32_t* result;
};

// Lane l receives of each matrix one word: row l / 4, columns 2 (l % 4) and the next; transposed, of the columns' rows.
template <int kMatrices, bool kTransposed>
void load_matrices(const char* operation, uint32_t* result, const void* row) {
  Block& block = *current_block;
  Rows mine{row, result};
  if (block.lane() < 8 * kMatrices) check_shared(block, operation, row);
  if (!block.arrive(kAllLanes, operation, &mine)) return;
  Rows* lanes[kWarpSize];
  for (int l = 0; l < kWarpSize; ++l) lanes[l] = static_cast<Rows*>(block.slot(l));
  for (int m = 0; m < kMatrices; ++m) {
    uint32_t words[8][4];
    for (int i = 0; i < 8; ++i) std::memcpy(words[i], lanes[8 * m + i]->row, kRowBytes);
    for (int l = 0; l < kWarpSize; ++l) {
      const int g = l / 4, t = l % 4;
      if constexpr (kTransposed) {
        const int shift = g % 2 * 16;
        const uint32_t first = words[2 * t][g / 2] >> shift & 0xffffu, second = words[2 * t + 1][g / 2] >> shift;
        lanes[l]->result[m] = first | second << 16;
      } else {
        lanes[l]->result[m] = words[g][t];
      }
    }
  }
  block.complete();
}

struct Fragments {
  const uint32_t *a, *b;
  float* d;
};

// d[16][8] += a[16][16] · b[16][8], elements in pairs: of a two columns, of b two rows to a word. Products of two bf16
// are exact in f32.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
__attribute__((target_clones("avx2", "default")))
#endif
void multiply(float (*__restrict d)[8], const uint32_t (*__restrict a)[8], const uint32_t (*__restrict b)[8]) {
  alignas(32) float right[16][8];
  for (int p = 0; p < 8; ++p)
    for (int j = 0; j < 8; ++j) {
      right[2 * p][j] = std::bit_cast<float>(b[p][j] << 16);
      right[2 * p + 1][j] = std::bit_cast<float>(b[p][j] & 0xffff0000u);
    }
  for (int i = 0; i < 16; ++i)
    for (int p = 0; p < 8; ++p) {
      const float even = std::bit_cast<float>(a[i][p] << 16), odd = std::bit_cast<float>(a[i][p] & 0xffff0000u);
      for (int j = 0; j < 8; ++j) d[i][j] += even * right[2 * p][j];
      for (int j = 0; j < 8; ++j) d[i][j] += odd * right[2 * p + 1][j];
    }
}

uint32_t rounded(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;  // the NaN that the instruction makes
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

}  // namespace

void cp_async_16(void* shared, const void* global, bool valid) {
  Block& block = *current_block;
  check_shared(block, "cp.async", shared);
  if (!aligned(global)) block.fault("cp.async: global address %p is not 16-byte aligned", global);
  if (valid && !on_device(global)) block.fault("cp.async: %p is not an address of global memory", global);
  if (valid) check_read(global, kRowBytes);
  block.copies().begin(shared, valid ? global : nullptr);
}

void cp_async_commit() { current_block->copies().commit(); }

void cp_async_wait_group(size_t pending) { current_block->copies().wait(pending); }

void ldmatrix_x4(uint32_t (&r)[4], const void* row) { load_matrices<4, false>("ldmatrix.x4", r, row); }
void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) { load_matrices<4, true>("ldmatrix.x4.trans", r, row); }
void ldmatrix_x2(uint32_t (&r)[2], const void* row) { load_matrices<2, false>("ldmatrix.x2", r, row); }
void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) { load_matrices<2, true>("ldmatrix.x2.trans", r, row); }

void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  Block& block = *current_block;
  Fragments mine{a, b, d};
  if (!block.arrive(kAllLanes, "mma.m16n8k16", &mine)) return;
  alignas(32) uint32_t left[16][8], right[8][8];
  alignas(32) float sums[16][8];
  for (int l = 0; l < kWarpSize; ++l) {
    const auto& lane = *static_cast<const Fragments*>(block.slot(l));
    const int g = l / 4, t = l % 4;
    left[g][t] = lane.a[0];
    left[g + 8][t] = lane.a[1];
    left[g][t + 4] = lane.a[2];
    left[g + 8][t + 4] = lane.a[3];
    right[t][g] = lane.b[0];
    right[t + 4][g] = lane.b[1];
    std::memcpy(&sums[g][2 * t], lane.d, 8);
    std::memcpy(&sums[g + 8][2 * t], lane.d + 2, 8);
  }
  multiply(sums, left, right);
  for (int l = 0; l < kWarpSize; ++l) {
    const auto& lane = *static_cast<const Fragments*>(block.slot(l));
    std::memcpy(lane.d, &sums[l / 4][2 * (l % 4)], 8);
    std::memcpy(lane.d + 2, &sums[l / 4 + 8][2 * (l % 4)], 8);
  }
  block.complete();
}

uint32_t pack_bf16(float low, float high) { return rounded(low) | rounded(high) << 16; }

}  // namespace diffusion::emulator
