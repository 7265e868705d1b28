// What the executor runs, in the order of the queue.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/backend.h"
#include "core/error.h"

namespace diffusion {

using StorageId = uint64_t;

// Bytes [begin, end) of a storage.
struct Extent {
  StorageId id;
  size_t begin, end;

  static Extent whole(StorageId id) { return {id, 0, SIZE_MAX}; }
};

// Why the contents of a storage are not what its last command should have written.
struct Fault {
  std::string code, message;
  bool lasting = false;  // stays with the storage whatever is written
};
using FaultPtr = std::shared_ptr<const Fault>;

// The parts of storages that hold something else than they should. Almost always empty.
class Faults {
 public:
  bool empty() const { return damage_.empty(); }
  FaultPtr find(const Extent* extents, size_t count) const;                 // the first that overlaps
  void settle(const Extent* extents, size_t count, const FaultPtr& fault);  // all of it was written: soundly when null
  void forget(StorageId id) { damage_.erase(id); }

 private:
  struct Damage {
    size_t begin, end;
    FaultPtr fault;
  };
  std::unordered_map<StorageId, std::vector<Damage>> damage_;
};

// The executor's state; touched by the executor thread only, apart from the flag.
struct Executor {
  explicit Executor(const Backend& backend) : backend(backend) {}

  const Backend& backend;
  Stream* stream = nullptr;
  Faults faults;
  FaultPtr closed;  // set when the device could not be opened or is lost: every command fails with it
  std::atomic<bool> stopping{false};

  FaultPtr fault_of(const Extent* extents, size_t count) const {
    if (closed) return closed;
    return faults.empty() ? nullptr : faults.find(extents, count);
  }
  void settle(const Extent* extents, size_t count, const FaultPtr& fault) {
    if (fault || !faults.empty()) faults.settle(extents, count, fault);
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

// A command that reads some tensors and writes others: runs only when all that it reads is sound (`action` returns
// false and fills the failure when it fails), and passes a fault on to what it should have written.
template <size_t kOperands>
struct Marking {
  Extent reads[kOperands];
  Extent writes[kOperands];
  Extent states[kOperands];  // damaged by a failure of the action, not when it is skipped
  uint8_t read_count = 0, write_count = 0, state_count = 0;

  template <class Action>
  void guard(Executor& executor, const Action& action) const {
    FaultPtr fault = executor.fault_of(reads, read_count);
    if (!fault) {
      Failure failure{};
      if (!action(failure)) fault = to_fault(failure);
      executor.settle(states, state_count, fault);
    }
    executor.settle(writes, write_count, fault);
  }
};

}  // namespace diffusion
