#include "core/queue.h"

#include <chrono>
#include <utility>

namespace diffusion {

namespace {
// Waking a sleeping thread costs the JavaScript thread about 5 µs (a futex call), so the executor looks for new work
// this long before it goes to sleep.
constexpr auto kSpin = std::chrono::microseconds(40);

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}
}  // namespace

Queue::Queue(const Backend& backend, std::function<void(Executor&)> open, std::function<void(Executor&)> close)
    : executor_(backend) {
  executor_.push = [this](CommandPtr command) { push(std::move(command)); };
  thread_ = std::thread([this, open = std::move(open), close = std::move(close)] { work(open, close); });
}

Queue::~Queue() { end(); }

void Queue::end() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    finished_ = true;
    has_work_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Queue::check_running() const {
  if (!thread_.joinable()) fail(code::device, "the process is ending; its devices no longer compute");
}

void Queue::check_depth() const {
  check_running();
  if (depth_.load(std::memory_order_relaxed) >= kMaxDepth)
    fail(code::device, "%lld commands are waiting; await device.synchronize() before enqueuing more",
         static_cast<long long>(kMaxDepth));
}

void Queue::push(CommandPtr command) {
  bool notify;
  depth_.fetch_add(1, std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    pending_.push_back(std::move(command));
    has_work_.store(true, std::memory_order_release);
    notify = sleeping_;
  }
  if (notify) wake_.notify_one();
}

bool Queue::wait(std::vector<CommandPtr>& batch) {
  const auto until = std::chrono::steady_clock::now() + kSpin;
  while (!has_work_.load(std::memory_order_acquire) && std::chrono::steady_clock::now() < until) relax();
  std::unique_lock lock(mutex_);
  sleeping_ = true;
  wake_.wait(lock, [&] { return !pending_.empty() || finished_; });
  sleeping_ = false;
  has_work_ = finished_;
  batch.swap(pending_);
  return !batch.empty();
}

void Queue::run(const CommandPtr& command) {
  try {
    executor_.execute(command);
  } catch (const std::exception&) {  // only memory for the bookkeeping itself can be lacking
    executor_.closed = exhausted_;
  }
}

void Queue::work(const std::function<void(Executor&)>& open, const std::function<void(Executor&)>& close) {
  open(executor_);
  std::vector<CommandPtr> batch;
  while (wait(batch)) {
    for (CommandPtr& command : batch) {
      if (!executor_.stopping.load(std::memory_order_relaxed)) run(command);
      command.reset();  // frees what the command holds now, not at the end of the batch
      depth_.fetch_sub(1, std::memory_order_relaxed);
    }
    batch.clear();
  }
  executor_.graphs.drop_all(executor_);
  close(executor_);
}

}  // namespace diffusion
