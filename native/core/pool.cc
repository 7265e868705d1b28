#include "core/pool.h"

#include <algorithm>
#include <utility>

namespace diffusion {

void* Pool::allocate(size_t bytes) {
  bytes = rounded(bytes);
  auto fit = free_.lower_bound({bytes, nullptr});
  if (fit == free_.end()) {
    const size_t slab_bytes = source_.slab_bytes(bytes);
    char* base = static_cast<char*>(source_.reserve(slab_bytes));
    slabs_.push_back({base, slab_bytes});
    insert_free(blocks_.insert({base, {slab_bytes, true, next_slab_++}}).first);
    fit = free_.lower_bound({bytes, nullptr});
  }
  const auto block = blocks_.find(fit->second);
  free_.erase(fit);
  if (block->second.bytes > bytes) {
    const auto rest =
        blocks_.insert({block->first + bytes, {block->second.bytes - bytes, true, block->second.slab}}).first;
    insert_free(rest);
    block->second.bytes = bytes;
  }
  block->second.free = false;
  used_ += bytes;
  return block->first;
}

void Pool::free(void* address) {
  auto block = blocks_.find(static_cast<char*>(address));
  if (block == blocks_.end() || block->second.free) return;
  used_ -= block->second.bytes;
  block->second.free = true;
  const auto next = std::next(block);
  if (next != blocks_.end() && next->second.free && next->second.slab == block->second.slab) {
    erase_free(next);
    block->second.bytes += next->second.bytes;
    blocks_.erase(next);
  }
  if (block != blocks_.begin()) {
    const auto previous = std::prev(block);
    if (previous->second.free && previous->second.slab == block->second.slab) {
      erase_free(previous);
      previous->second.bytes += block->second.bytes;
      blocks_.erase(block);
      block = previous;
    }
  }
  insert_free(block);
}

void Pool::set_aside(void* base) {
  const auto slab = std::find_if(slabs_.begin(), slabs_.end(), [=](const Slab& slab) { return slab.base == base; });
  if (slab == slabs_.end()) return;
  for (auto block = blocks_.find(slab->base); block != blocks_.end() && block->first < slab->base + slab->bytes;
       ++block) {
    if (block->second.free) erase_free(block);
    block->second.aside = true;
  }
}

void Pool::trim() {
  std::erase_if(slabs_, [&](const Slab& slab) {
    const auto block = blocks_.find(slab.base);
    if (!block->second.free || block->second.bytes != slab.bytes) return false;
    erase_free(block);
    blocks_.erase(block);
    source_.give_back(slab.base, slab.bytes);
    return true;
  });
}

}  // namespace diffusion
