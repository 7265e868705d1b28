// Finished tickets on their way to the JavaScript thread, delivered in batches.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "core/command.h"

namespace diffusion {

class Completions {
 public:
  struct Item {
    int64_t ticket;
    FaultPtr fault;  // null: it went well
  };

  // `wake` returns false when JavaScript can no longer be reached; it is not called again then.
  explicit Completions(std::function<bool()> wake) : wake_(std::move(wake)) {}

  // Any thread.
  void finish(int64_t ticket, FaultPtr fault) {
    bool first;
    {
      const std::lock_guard lock(mutex_);
      first = items_.empty();
      items_.push_back({ticket, std::move(fault)});
    }
    if (first && reachable_ && !wake_()) reachable_ = false;
  }

  // JavaScript thread.
  std::vector<Item> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(items_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<Item> items_;
  std::function<bool()> wake_;
  std::atomic<bool> reachable_{true};
};

}  // namespace diffusion
