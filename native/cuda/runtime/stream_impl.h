// What an open device holds beside its stream; for the files of this folder.
#pragma once

#include <array>
#include <memory>

#include "core/guard.h"
#include "cuda/runtime/completer.h"
#include "cuda/runtime/devices.h"
#include "cuda/runtime/graph.h"
#include "cuda/runtime/marks.h"
#include "cuda/runtime/staging.h"
#include "cuda/runtime/status.h"
#include "cuda/runtime/stream.h"

namespace diffusion {

struct Stream::Impl {
  OpenOptions options{};
  struct Block {
    void* data = nullptr;
    size_t bytes = 0;
    uint32_t generation = 0;  // which of the memories that this slot has had
  };
  std::array<Block, kScratchSlots> scratch;
  cuda::StatusFlag* status = nullptr;    // of the operation that runs by itself
  cuda::StatusFlag* reported = nullptr;  // page-locked
  unsigned* arrivals = nullptr;
  std::unique_ptr<cuda::Staging> staging;
  std::unique_ptr<cuda::Replays> replays;
  std::unique_ptr<cuda::Completer> completer;  // uses the replays
  std::unique_ptr<cuda::Capture> capture;      // while a program is recorded
  cuda::Marks marks;

  bool account(int64_t change) { return options.account == nullptr || options.account(options.context, change); }
  // Device memory that counts towards the limit; throws Error(out_of_memory).
  void* allocate(const char* purpose, size_t bytes);
};

namespace cuda {

// Throws Error(device) or Error(out_of_memory).
Stream* open_stream(const OpenOptions& options);
void close_stream(Stream* stream);

// Around an operation that may report an index: clear, run, then wait for the stream and throw Error(option) for a
// report.
void clear_status(Stream& stream);
void check_status(Stream& stream, const char* operation);
void check_report(const StatusFlag& report, const char* operation);

// Whether a failed call has met an error that lasts: that loses the device, for all streams of this process.
void find_loss(const Stream& stream, Failure* failure);

// f(), or false and a filled failure; on a lost device always the failure that lost it. Any thread.
template <class F>
bool attempt(const Stream& stream, Failure* failure, const F& f) {
  if (is_lost(stream.ordinal, failure)) return false;
  if (guarded(failure, f)) return true;
  find_loss(stream, failure);
  return false;
}

}  // namespace cuda

}  // namespace diffusion
