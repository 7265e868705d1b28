// What ran since the oldest run of a program that may still report a failure.
//
// A program that runs as one graph on a device that works on its own meets some failures (an index out of range) after
// the executor has gone on. When that becomes known, the marks are worked out again from here on, command by command,
// as if the failure had been known at once: the journal keeps what each command reads and writes for that long.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "core/command.h"

namespace diffusion {

struct ProgramBody;

// Failures of graphs on their way to the executor.
class Reports {
 public:
  struct Item {
    uint64_t run;
    int32_t command;
    FaultPtr fault;
  };

  void add(uint64_t run, const Report* reports, int32_t count);  // any thread; runs in their order
  std::vector<Item> take();
  uint64_t ended() const { return ended_.load(std::memory_order_acquire); }  // the last run that has
  uint64_t count() const { return count_.load(std::memory_order_acquire); }  // so far

 private:
  std::mutex mutex_;
  std::vector<Item> items_;
  std::atomic<uint64_t> ended_{0}, count_{0};
};

class Journal {
 public:
  Reports reports;

  bool empty() const { return entries_.empty(); }
  uint64_t seen() const { return seen_; }  // how many reports the marks account for
  void begin(uint64_t run, std::shared_ptr<const ProgramBody> body, const Faults& before);
  void add(Executor& executor, CommandPtr trace, FaultPtr own);
  // Works out the marks anew where a run has reported, and drops what no report can concern any more.
  void update(Executor& executor);

 private:
  struct Run {
    uint64_t number;
    std::shared_ptr<const ProgramBody> body;
    Faults before;
  };
  struct Entry {
    std::unique_ptr<Run> run;  // or a command:
    CommandPtr command;
    FaultPtr own;
  };
  void mark_again(Executor& executor);

  std::deque<Entry> entries_;  // the first is a run
  uint64_t seen_ = 0;
};

}  // namespace diffusion
