// The hot path of check_read and check_write.
#pragma once

#include <cstring>

#include "emulator/block.h"
#include "emulator/device_memory.h"

namespace diffusion::emulator {

// Whether all bytes are usable, as far as one look tells.
template <bool kWrite>
inline bool quickly_usable(size_t offset, size_t bytes) {
  const size_t last = offset + bytes - 1;
  const uint8_t* usable = device_window.usable;
  const auto at_least = [=](size_t granule, size_t count) {
    return kWrite ? usable[granule] >= 16 + count : usable[granule] % 16 >= count;
  };
  return bytes <= 16 && at_least(offset / 8, offset / 8 == last / 8 ? last % 8 + 1 : 8) &&
         at_least(last / 8, last % 8 + 1) && at_least((offset + last) / 16, bytes > 8 ? 8 : 1);
}

// Whether any of the cells belongs to this launch and is not `own`.
template <size_t kCells>
inline bool foreign(const int32_t* cells, int32_t first, int32_t own) {
  bool found = false;
  for (size_t i = 0; i < kCells; ++i) found |= (cells[i] >= first) & (cells[i] != own);
  return found;
}

template <bool kWrite, size_t kBytes>
inline void note(Block& block, const void* address, size_t offset) {
  const int32_t first = block.first_number(), own = block.number();
  int32_t* writers = device_window.writers + offset;
  int32_t* readers = device_window.readers + offset;
  constexpr const char* kWhat = kWrite ? "writes" : "reads";
  if (foreign<kBytes>(writers, first, own)) [[unlikely]]
    block.check_cells(writers, address, kBytes, kWhat, true);
  if constexpr (kWrite) {
    if (foreign<kBytes>(readers, first, own)) [[unlikely]]
      block.check_cells(readers, address, kBytes, kWhat, false);
    for (size_t i = 0; i < kBytes; ++i) writers[i] = own;
    block.unpublish();
  } else {
    const int32_t several = block.races().several();
    for (size_t i = 0; i < kBytes; ++i) readers[i] = readers[i] < first || readers[i] == own ? own : several;
  }
}

// kBytes 0: as many as `bytes` says.
template <bool kWrite, size_t kBytes = 0>
inline void check_access(const void* address, size_t bytes = kBytes) {
  Block* block = current_block;
  const size_t offset = device_offset(address);
  if (offset >= device_window.bytes) {
    if (block != nullptr && !block->owns(address, bytes)) [[unlikely]]
      block->check_private(address, bytes, kWrite ? "writes" : "reads");
    return;
  }
  if (block == nullptr) [[unlikely]] {
    host_access(address);
    return;
  }
  if (!quickly_usable<kWrite>(offset, bytes)) [[unlikely]]
    block->check_usable(address, bytes, kWrite ? "writes" : "reads", kWrite);
  if (block->number() == 0) return;
  if constexpr (kBytes > 0) {
    note<kWrite, kBytes>(*block, address, offset);
  } else {
    for (size_t i = 0; i < bytes; ++i) note<kWrite, 1>(*block, static_cast<const char*>(address) + i, offset + i);
  }
}

}  // namespace diffusion::emulator
