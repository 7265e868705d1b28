// An open device, as the JavaScript thread sees it: memory, recording, and the way to its queue.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/backends.h"
#include "core/completions.h"
#include "core/operation.h"
#include "core/pool.h"
#include "core/program.h"
#include "core/queue.h"
#include "core/storage.h"

namespace diffusion {

// Slabs for which the executor found no memory.
class LackingSlabs {
 public:
  void add(void* base) {
    const std::lock_guard lock(mutex_);
    bases_.push_back(base);
    any_ = true;
  }
  bool any() const { return any_.load(std::memory_order_relaxed); }
  std::vector<void*> take() {
    const std::lock_guard lock(mutex_);
    any_ = false;
    return std::exchange(bases_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<void*> bases_;
  std::atomic<bool> any_{false};
};

class Device {
 public:
  struct Memory {
    size_t used, peak, reserved;
  };

  // memory_limit in bytes, 0: the backend's default. `trace`: where to write how long its commands take, under which
  // name; without a path nothing is measured.
  struct TraceOptions {
    std::string path, name;
  };
  Device(LoadedBackend& backend, int32_t ordinal, int32_t threads, size_t memory_limit,
         std::shared_ptr<Completions> completions, TraceOptions trace = {});
  ~Device();  // joins the executor; queued work that has not started is dropped when stop() came first
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  bool computes_bf16() const { return bf16_; }
  Storage* allocate(size_t bytes);
  void retain(Storage* storage) { ++storage->references; }
  void release(Storage* storage);
  Memory memory() const;

  // Queues an operation whose marking is filled in; records it too while recording.
  void submit(CommandPtr command, std::initializer_list<Storage*> touched);
  void submit(CommandPtr command, Storage* const* touched, size_t count);

  void upload(Storage* storage, size_t offset, const void* data, size_t bytes);  // copies `data` now
  void upload_in_place(Storage* storage, size_t offset, const void* data, size_t bytes,
                       int64_t ticket);  // reads `data` until the ticket ends
  void check_readable() const;           // throws inside a recording
  void download(Storage* storage, size_t offset, void* into, size_t bytes, int64_t ticket);
  void synchronize(int64_t ticket);

  void begin_recording();
  std::unique_ptr<Program> end_recording();
  void abandon_recording();
  // Between these, what is allocated and queued is not part of the recording: state that is made on first use.
  void pause_recording();
  void resume_recording();
  void run(const Program& program);
  void release(Program& program);

  void stop() { queue_->stop(); }
  void end() { queue_->end(); }

 private:
  bool recording() const { return recording_ && paused_ == 0; }
  void enqueue(CommandPtr command) { queue_->push(std::move(command)); }
  SlabSource slab_source();
  void* reserve(size_t bytes);
  void give_back(void* address, size_t bytes);
  void leave_arena();
  void lose_arena(const Error& cause);
  void touch(Storage* storage);
  void forget(StorageId id);
  bool fits(size_t bytes) const;
  bool take(size_t bytes);       // counts them as held, unless they do not fit; any thread
  void make_room(size_t bytes);  // gives unused slabs back when they do not fit
  [[noreturn]] void fail_memory(const char* what, size_t bytes) const;

  const Backend& backend_;
  const int32_t ordinal_;
  const bool bf16_;
  const int64_t limit_, process_limit_;     // for this queue, and for all queues of the process together
  const std::shared_ptr<Account> account_;  // slabs, staged uploads and the backend's scratch
  std::shared_ptr<Completions> completions_;
  Pool pool_, arena_;
  size_t peak_ = 0;
  std::unordered_set<Storage*> in_arena_;
  std::unique_ptr<ProgramBody> recording_;
  std::vector<Storage*> touched_;
  std::vector<StorageId> temporaries_, forgotten_;
  int64_t programs_ = 0;  // alive
  uint64_t recording_number_ = 0;
  int paused_ = 0;
  Reports* reports_ = nullptr;  // the executor's
  LackingSlabs lacking_;
  bool lacked_ = false;
  std::unique_ptr<Queue> queue_;  // last: its thread ends before the rest goes
};

}  // namespace diffusion
