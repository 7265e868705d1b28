// Finished tickets on their way from executor threads to the JavaScript thread, delivered in batches.
#pragma once

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

  explicit Completions(std::function<void()> wake) : wake_(std::move(wake)) {}

  // Executor thread.
  void finish(int64_t ticket, FaultPtr fault) {
    bool first;
    {
      const std::lock_guard lock(mutex_);
      first = items_.empty();
      items_.push_back({ticket, std::move(fault)});
    }
    if (first) wake_();
  }

  // JavaScript thread.
  std::vector<Item> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(items_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<Item> items_;
  std::function<void()> wake_;
};

}  // namespace diffusion
