// One block of a kernel: its threads as fibers of one OS thread, its warps and its shared memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "emulator/async_copy.h"
#include "emulator/fiber.h"
#include "emulator/races.h"
#include "emulator/types.h"
#include "emulator/wild_access.h"

namespace diffusion::emulator {

inline constexpr int kWarpSize = 32;
inline constexpr unsigned kMaxThreads = 1024;
inline constexpr size_t kMaxShared = 227 << 10;        // after cudaFuncSetAttribute
inline constexpr size_t kMaxSharedDefault = 48 << 10;  // without it

// What all blocks of a launch have in common.
struct Launch {
  const char* kernel;  // as LAUNCH names it
  void (*body)(const void* arguments);
  const void* arguments;
  size_t argument_bytes;
  dim3 grid, block;
  size_t shared_bytes;
  uint64_t seed;  // of every order that hardware leaves open
  Races* races;
};

struct Thread {
  void* stack_pointer;  // null: not started
  dim3 index;
  int warp, lane, stack;
  void* slot;  // what the thread brings to the collective it waits in
};

struct Warp {
  uint32_t alive, ready;
  // A collective under way.
  uint32_t arrived, mask;
  const char* operation;
  Thread* threads;  // of lane 0
};

class Block {
 public:
  Block();
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  // Returns false when a thread faulted; fault_text() then says where and what. `number` counts the blocks of the
  // launch.
  bool run(const Launch& launch, dim3 index, uint64_t number);
  const char* fault_text() const { return fault_; }

  const dim3& thread_index() const { return current_->index; }
  const dim3& block_index() const { return index_; }
  const dim3& block_size() const { return launch_->block; }
  const dim3& grid_size() const { return launch_->grid; }
  unsigned char* shared() { return shared_; }
  size_t shared_bytes() const { return launch_->shared_bytes; }
  int lane() const { return current_->lane; }
  AsyncCopies& copies() { return copies_[static_cast<size_t>(current_ - threads_.data())]; }

  // For the threads of the block. A fault ends the block at once: nothing on the fibers' stacks is destroyed.
  [[noreturn]] __attribute__((format(printf, 2, 3))) void fault(const char* format, ...);
  void barrier(int line);
  // Registers the calling thread for a collective. True for the last one of the mask, which does the work for all and
  // then calls complete(); for the others it returns when that has happened.
  bool arrive(uint32_t mask, const char* operation, void* slot);
  void complete();
  void* slot(int lane) const;  // null: the lane does not take part

  // For check_access.h. The thread faults unless the access is right after all.
  int32_t first_number() const { return first_number_; }
  int32_t number() const { return number_; }
  bool owns(const void* address, size_t bytes) const {  // the stack of a thread, or shared memory
    const auto at = reinterpret_cast<uintptr_t>(address);
    return at - stacks_.start() < stacks_.bytes() ||
           (at - reinterpret_cast<uintptr_t>(shared_) < shared_bytes() &&
            bytes <= shared_bytes() - (at - reinterpret_cast<uintptr_t>(shared_)));
  }
  void check_private(const void* address, size_t bytes, const char* what);
  void check_usable(const void* address, size_t bytes, const char* what, bool to_write);
  void check_cells(const int32_t* cells, const void* address, size_t bytes, const char* what, bool written);
  void check_order(int32_t cell, const void* address, size_t bytes, const char* what, bool written);
  Races& races() { return *launch_->races; }
  BlockSet& known() { return known_; }
  // Whether a fence came after the last write.
  bool published() const { return published_; }
  void publish() { published_ = true; }
  void unpublish() { published_ = false; }

 private:
  static void enter();
  void leave();
  void suspend();
  void resume(Thread* next, void** save, bool for_good = false);
  [[noreturn]] void return_to_main();
  Thread* pick();
  uint32_t random();
  void wake(int warp) { ready_warps_ |= 1u << warp; }
  bool shared_memory_is_intact() const;

  const SignalStack signal_stack_;
  const Launch* launch_ = nullptr;
  dim3 index_;
  int32_t first_number_ = 0, number_ = 0;  // 0: races are not watched
  bool published_ = true;
  BlockSet known_;  // blocks whose writes came before what this one does now
  Stacks stacks_;
  std::vector<int> free_stacks_;
  std::vector<Thread> threads_;
  std::vector<AsyncCopies> copies_;  // of each thread
  Warp warps_[kMaxThreads / kWarpSize];
  uint32_t ready_warps_ = 0;
  Thread* current_ = nullptr;
  void* main_ = nullptr;
  const StackBounds main_stack_ = stack_of_this_thread();
  int alive_ = 0, waiting_ = 0, barrier_line_ = 0;
  uint64_t state_ = 1;
  std::unique_ptr<unsigned char[]> memory_;
  unsigned char* shared_;
  char fault_[400];
  bool faulted_ = false;
};

// The block that this OS thread runs. Never moves to another OS thread, so its address may be kept across a switch of
// fibers. A library opened late gets little of the fast kind of thread-local storage, so this library must not use more
// than a few words.
extern constinit thread_local Block* current_block __attribute__((tls_model("initial-exec")));

}  // namespace diffusion::emulator
