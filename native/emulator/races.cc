#include "emulator/races.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>

#include "emulator/device_memory.h"

namespace diffusion::emulator {
namespace {

constexpr int32_t kLast = int32_t{1} << 30;
constexpr uint64_t kMostBlocks = uint64_t{1} << 26;

// Launches hold it shared; whoever clears the cells, when the numbers have run out, holds it alone.
std::shared_mutex& numbers() {
  static auto& mutex = *new std::shared_mutex;
  return mutex;
}
std::atomic<int32_t> next_number{1};

void start_again() {
  const std::unique_lock alone(numbers());
  if (next_number.load() < kLast) return;
  for (int32_t* cells : {device_window.writers, device_window.readers})
    madvise(cells, device_window.bytes * sizeof(int32_t), MADV_DONTNEED);
  next_number = 1;
}

}  // namespace

Races::Races(uint64_t blocks) {
  if (blocks < 2 || blocks > kMostBlocks) return;
  if (next_number.load(std::memory_order_relaxed) >= kLast) start_again();
  turn_ = std::shared_lock(numbers());
  count_ = static_cast<int32_t>(blocks);
  first_ = next_number.fetch_add(count_ + 2);
}

void Races::synchronize(const void* address, int32_t block, bool publish, BlockSet& known,
                        const std::function<void()>& exchange) {
  const std::lock_guard hold(mutex_);
  exchange();
  BlockSet& published = published_[address];
  const auto size = static_cast<size_t>(count_);
  published.resize(size);
  known.resize(size);
  for (size_t i = 0; i < size; ++i)
    if (published[i]) known[i] = true;
  if (!publish) return;
  published = known;
  published[static_cast<size_t>(block - first_)] = true;
}

bool Races::ordered(int32_t cell, int32_t block, const BlockSet& known) const {
  if (known.empty()) return false;
  if (cell < several()) return known[static_cast<size_t>(cell - first_)];
  if (cell > atomic()) return false;  // a launch that began later
  const auto others =
      std::count(known.begin(), known.end(), true) - (known[static_cast<size_t>(block - first_)] ? 1 : 0);
  return others == count_ - 1;
}

}  // namespace diffusion::emulator
