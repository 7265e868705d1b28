// Device memory of one queue, handed out in the order of its commands.
//
// All bookkeeping happens on the JavaScript thread when a command is enqueued: a block freed before command k is
// enqueued may be given to command k, because the queue runs in order. Nothing here touches the memory itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

namespace diffusion {

// Address ranges come from `reserve` (throws when the limit forbids it) and go back through `give_back`.
struct SlabSource {
  std::function<void*(size_t bytes)> reserve;
  std::function<void(void* address, size_t bytes)> give_back;
  std::function<size_t(size_t bytes)> slab_bytes;  // how large a slab to take for a block of `bytes`
};

class Pool {
 public:
  static constexpr size_t kAlignment = 256;

  explicit Pool(SlabSource source) : source_(std::move(source)) {}

  void* allocate(size_t bytes);  // best fit; a new slab where nothing fits
  void free(void* address);
  void trim();                 // gives back the slabs that hold no block
  void set_aside(void* base);  // hands out nothing more of this slab

  size_t used() const { return used_; }
  struct Slab {
    char* base;
    size_t bytes;
  };
  const std::vector<Slab>& slabs() const { return slabs_; }

  static size_t rounded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

 private:
  struct Block {
    size_t bytes;
    bool free;
    size_t slab;  // a block never reaches over the end of its slab
    bool aside = false;
  };
  using Blocks = std::map<char*, Block>;

  void insert_free(Blocks::iterator block) {
    if (!block->second.aside) free_.insert({block->second.bytes, block->first});
  }
  void erase_free(Blocks::iterator block) { free_.erase({block->second.bytes, block->first}); }

  SlabSource source_;
  Blocks blocks_;
  std::set<std::pair<size_t, char*>> free_;
  std::vector<Slab> slabs_;
  size_t next_slab_ = 0;
  size_t used_ = 0;
};

}  // namespace diffusion
