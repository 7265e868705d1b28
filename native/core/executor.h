// The executor's state, and how commands run and leave marks. Touched by the executor thread only, apart from the flag.
#pragma once

#include <atomic>
#include <functional>

#include "core/command.h"
#include "core/graphs.h"
#include "core/journal.h"

namespace diffusion {

class Profile;

struct Executor {
  explicit Executor(const Backend& backend) : backend(backend) {}

  const Backend& backend;
  Stream* stream = nullptr;
  Faults faults;
  FaultPtr closed;  // set when the device could not be opened or is lost: every command fails with it
  std::atomic<bool> stopping{false};
  std::function<void(CommandPtr)> push;  // any thread: to the end of the queue

  Journal journal;
  Graphs graphs;
  FaultPtr own;  // what the action of the command that runs has met

  struct Slab {
    void* address;
    size_t bytes;
  };
  std::vector<Slab> unmapped;  // reserved, but there was no memory for them

  std::shared_ptr<Profile> profile;  // null: nothing is measured

  void execute(const CommandPtr& command) {
    if (profile) [[unlikely]]
      return execute_profiled(command);
    carry_out(command);
  }
  void write_profile();  // all that has been measured, once the device has got there

  // Runs it, and notes it down while runs of programs may still report.
  void carry_out(const CommandPtr& command) {
    if (journal.empty()) return command->run(*this);
    journal.update(*this);
    own = nullptr;
    command->run(*this);
    if (!journal.empty()) journal.add(*this, command->trace(command), own);
  }

  FaultPtr fault_of(const Extent* extents, size_t count) const {
    if (closed) return closed;
    return faults.empty() ? nullptr : faults.find(extents, count);
  }
  void settle(const Extent* extents, size_t count, const FaultPtr& fault) {
    if (fault || !faults.empty()) faults.settle(extents, count, fault);
  }

  // action(failure), or why it failed. A lost device fails everything that follows.
  template <class Action>
  FaultPtr attempt(const Action& action) {
    Failure failure{};
    if (action(failure)) return nullptr;
    own = to_fault(failure);
    if (failure.lost && !closed) closed = own;
    return own;
  }

  // Whether there is memory at an address; where there was none, asks for it again.
  bool reach(const void* address, Failure& failure) { return unmapped.empty() || map_again(address, failure); }

  void wait();  // until everything submitted has ended

 private:
  void execute_profiled(const CommandPtr& command);
  bool map_again(const void* address, Failure& failure);
};

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
      fault = executor.attempt(action);
      executor.settle(states, state_count, fault);
    }
    executor.settle(writes, write_count, fault);
  }

  void mark(Executor& executor, const FaultPtr& own) const {
    FaultPtr fault = executor.fault_of(reads, read_count);
    if (!fault) executor.settle(states, state_count, fault = own);
    executor.settle(writes, write_count, fault);
  }
};

}  // namespace diffusion
