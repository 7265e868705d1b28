// The executor thread of an open device, and the ordered queue that feeds it.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/executor.h"

namespace diffusion {

class Queue {
 public:
  // Commands accepted and not yet run; beyond it push() throws instead of letting the queue grow without bound.
  static constexpr int64_t kMaxDepth = int64_t{1} << 18;

  // `open` and `close` run on the executor thread, before the first and after the last command.
  Queue(const Backend& backend, std::function<void(Executor&)> open, std::function<void(Executor&)> close);
  ~Queue();  // runs what was pushed, or after stop() only what is running

  void push(CommandPtr command);  // any thread
  void stop() { executor_.stopping = true; }
  void check_running() const;  // throws when it has ended
  void check_depth() const;    // throws when it has ended, or is full
  void end();                  // waits for the executor; what is pushed afterwards is never run

 private:
  void work(const std::function<void(Executor&)>& open, const std::function<void(Executor&)>& close);
  bool wait(std::vector<CommandPtr>& batch);
  void run(const CommandPtr& command);

  Executor executor_;
  const FaultPtr exhausted_ =
      std::make_shared<Fault>(Fault{code::out_of_memory, "the system has no memory left for the queue"});
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<CommandPtr> pending_;
  bool sleeping_ = false, finished_ = false;
  std::atomic<bool> has_work_{false};
  std::atomic<int64_t> depth_{0};
  std::thread thread_;
};

}  // namespace diffusion
