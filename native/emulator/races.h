// Blocks of one launch run in no order: what one writes, no other may read or write, unless atomic operations and
// fences put one before the other.
//
// Every byte of device memory has two cells, for the last block that wrote it and the one that read it. Numbers grow
// from launch to launch, so that cells of earlier ones need no clearing: a launch of n blocks takes n + 2 numbers, one
// for each block, one for "several blocks" and one for "an atomic operation".
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

namespace diffusion::emulator {

// Blocks of a launch, by their index.
using BlockSet = std::vector<bool>;

class Races {
 public:
  explicit Races(uint64_t blocks);  // of a launch that begins now and ends with this object

  bool watched() const { return first_ > 0; }  // several blocks, and not too many to number
  int32_t number(uint64_t block) const { return watched() ? first_ + static_cast<int32_t>(block) : 0; }
  int32_t first() const { return first_; }
  int32_t several() const { return first_ + count_; }
  int32_t atomic() const { return first_ + count_ + 1; }
  int32_t blocks() const { return count_; }

  // An atomic operation at `address`, which `exchange` carries out. It comes after those at the same address of blocks
  // that had made their writes visible before (`publish`, for this one), so that the caller knows of all that they
  // know: `known`. Both at once, since the order of exchanges is what kernels go by.
  void synchronize(const void* address, int32_t block, bool publish, BlockSet& known,
                   const std::function<void()>& exchange);
  // Whether all that the cell stands for came before what a block does now that knows of `known`.
  bool ordered(int32_t cell, int32_t block, const BlockSet& known) const;

 private:
  std::shared_lock<std::shared_mutex> turn_;
  int32_t first_ = 0, count_ = 0;
  std::mutex mutex_;
  std::unordered_map<const void*, BlockSet> published_;
};

}  // namespace diffusion::emulator
