#include "cpu/runtime/stream.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

#include "core/error.h"
#include "cpu/runtime/primitives.h"

namespace diffusion {

namespace cpu {

Scratch::~Scratch() {
  for (Block& block : blocks_) {
    std::free(block.data);
    if (block.data != nullptr && options_.account != nullptr)
      options_.account(options_.context, -static_cast<int64_t>(block.bytes));
  }
}

void* Scratch::get(int slot, size_t bytes) {
  constexpr size_t kPage = 4096;
  Block& block = blocks_[static_cast<size_t>(slot)];
  if (block.data != nullptr && bytes <= block.bytes) return block.data;

  const auto account = [this](int64_t change) {
    return options_.account == nullptr || options_.account(options_.context, change);
  };
  const size_t rounded = (bytes + kPage - 1) / kPage * kPage + (bytes == 0 ? kPage : 0);
  // What there is stays when there is no more to be had: smaller operations go on with it.
  const auto more = static_cast<int64_t>(rounded) - static_cast<int64_t>(block.bytes);
  if (!account(more))
    fail(code::out_of_memory, "the memory limit does not leave %zu bytes for an operation's scratch memory", rounded);
  void* data = std::aligned_alloc(64, rounded);
  if (data == nullptr) {
    account(-more);
    fail(code::out_of_memory, "the system does not give %zu bytes for an operation's scratch memory", rounded);
  }
  std::free(block.data);
  block.data = data;
  block.bytes = rounded;
  return block.data;
}

namespace {
// struct sched_attr of sched(7) as Linux 3.14 has it; older C libraries declare neither it nor its calls.
struct SchedulingAttributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};

// An event loop that wakes up on a busy core is to run at once, instead of after the time slice of the thread that
// computes there. Linux keeps both values below for each thread, and the team's threads inherit them.
// - A nice value of 5 leaves the loop a greater share.
// - Since Linux 6.12 a thread may ask for longer slices, and one that wakes up with a shorter slice comes first: 99 of
//   100 turns of a loop beside two computing threads on two cores were late by less than 0.8 ms, before by 1.9 ms.
//   Older ones ignore the field.
void yield_to_the_event_loop() {
  constexpr int kNicer = 5;
  constexpr uint64_t kSliceNanoseconds = 10'000'000;
  const auto thread = static_cast<id_t>(syscall(SYS_gettid));
  setpriority(PRIO_PROCESS, thread, getpriority(PRIO_PROCESS, thread) + kNicer);

  SchedulingAttributes attributes{};
  const bool known = syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0u) == 0;
  if (!known || attributes.policy != SCHED_OTHER) return;
  attributes.size = sizeof attributes;
  attributes.runtime = kSliceNanoseconds;
  syscall(SYS_sched_setattr, 0, &attributes, 0u);
}
}  // namespace

}  // namespace cpu

Stream::Stream(const OpenOptions& options)
    : threads(options.threads), scratch(options), primitives(std::make_unique<cpu::Primitives>(scratch, options)) {
  cpu::yield_to_the_event_loop();
}

Stream::~Stream() = default;

}  // namespace diffusion
