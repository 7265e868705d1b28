// The copies of cp.async that a thread has begun. What they bring is read at once and lands when the thread waits for
// it, the latest that hardware may; until then the destination is poison, as hardware may overwrite it at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace diffusion::emulator {

class AsyncCopies {
 public:
  void begin(void* to, const void* from);  // 16 bytes; from null: zeros
  void commit() { ends_.push_back(copies_.size()); }
  void wait(size_t pending);  // until at most that many of the newest groups are under way
  size_t under_way() const { return copies_.size() - landed_; }
  void clear();

 private:
  struct alignas(16) Piece {
    uint64_t words[2];
  };
  struct Copy {
    Piece data;
    void* to;
  };
  std::vector<Copy> copies_;
  std::vector<size_t> ends_;  // of each group, in copies_
  size_t landed_ = 0, waited_ = 0;
};

}  // namespace diffusion::emulator
