// What the executor runs, in the order of the queue.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "core/backend.h"
#include "core/error.h"

namespace diffusion {

using StorageId = uint64_t;

// Why the contents of a storage are not what its last command should have written.
struct Fault {
  std::string code, message;
  bool lasting = false;  // stays with the storage whatever is written
};
using FaultPtr = std::shared_ptr<const Fault>;

// The executor's state; touched by the executor thread only, apart from the flag.
struct Executor {
  explicit Executor(const Backend& backend) : backend(backend) {}

  const Backend& backend;
  Stream* stream = nullptr;
  std::unordered_map<StorageId, FaultPtr> faults;
  FaultPtr closed;  // set when the device could not be opened or is lost: every command fails with it
  std::atomic<bool> stopping{false};

  FaultPtr fault_of(const StorageId* ids, size_t count) const {
    if (closed) return closed;
    if (faults.empty()) return nullptr;
    for (size_t i = 0; i < count; ++i)
      if (const auto found = faults.find(ids[i]); found != faults.end()) return found->second;
    return nullptr;
  }
  void settle(const StorageId* ids, size_t count, const FaultPtr& fault) {
    if (!fault && faults.empty()) return;
    for (size_t i = 0; i < count; ++i) {
      FaultPtr& present = faults[ids[i]];
      if (present && present->lasting) continue;
      if (fault)
        present = fault;
      else
        faults.erase(ids[i]);
    }
  }
};

inline FaultPtr to_fault(const Failure& failure) {
  return std::make_shared<Fault>(Fault{failure.code, failure.message});
}

struct Command {
  virtual ~Command() = default;
  virtual void run(Executor& executor) const = 0;
};
using CommandPtr = std::shared_ptr<const Command>;

// A command that reads some storages and writes others: runs only when all that it reads is sound (`action` returns
// false and fills the failure when it fails), and passes a fault on to what it should have written.
template <size_t kReads, size_t kWrites>
struct Marking {
  StorageId reads[kReads > 0 ? kReads : 1];
  StorageId writes[kWrites > 0 ? kWrites : 1];
  uint8_t read_count = 0, write_count = 0;

  template <class Action>
  FaultPtr guard(Executor& executor, const Action& action) const {
    FaultPtr fault = executor.fault_of(reads, read_count);
    if (!fault) {
      Failure failure{};
      if (!action(failure)) fault = to_fault(failure);
    }
    executor.settle(writes, write_count, fault);
    return fault;
  }
};

}  // namespace diffusion
