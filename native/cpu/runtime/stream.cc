#include "cpu/runtime/stream.h"

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
// Linux keeps a nice value for each thread, which the team's threads inherit: an event loop that wakes up on a busy
// core runs at once instead of waiting for the end of a time slice.
void yield_to_the_event_loop() {
  constexpr int kNicer = 5;
  const auto thread = static_cast<id_t>(syscall(SYS_gettid));
  setpriority(PRIO_PROCESS, thread, getpriority(PRIO_PROCESS, thread) + kNicer);
}
}  // namespace

}  // namespace cpu

Stream::Stream(const OpenOptions& options)
    : threads(options.threads), scratch(options), primitives(std::make_unique<cpu::Primitives>(scratch, options)) {
  cpu::yield_to_the_event_loop();
}

Stream::~Stream() = default;

}  // namespace diffusion
