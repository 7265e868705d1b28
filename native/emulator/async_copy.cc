#include "emulator/async_copy.h"

#include <cstring>

namespace diffusion::emulator {

void AsyncCopies::begin(void* to, const void* from) {
  Copy copy{{}, to};
  if (from != nullptr) std::memcpy(&copy.data, from, sizeof copy.data);
  copies_.push_back(copy);
  std::memset(to, 0xFF, sizeof copy.data);
}

void AsyncCopies::wait(size_t pending) {
  constexpr size_t kKept = 32;
  while (ends_.size() - waited_ > pending)
    for (const size_t end = ends_[waited_++]; landed_ < end; ++landed_)
      std::memcpy(copies_[landed_].to, &copies_[landed_].data, sizeof(Piece));
  if (landed_ == copies_.size() && waited_ == ends_.size()) return clear();
  if (landed_ < kKept && waited_ < kKept) return;
  copies_.erase(copies_.begin(), copies_.begin() + static_cast<std::ptrdiff_t>(landed_));
  ends_.erase(ends_.begin(), ends_.begin() + static_cast<std::ptrdiff_t>(waited_));
  for (size_t& end : ends_) end -= landed_;
  landed_ = waited_ = 0;
}

void AsyncCopies::clear() {
  copies_.clear();
  ends_.clear();
  landed_ = waited_ = 0;
}

}  // namespace diffusion::emulator
