// What an open device holds beside its stream; for the files of this folder.
#pragma once

#include <array>
#include <memory>

#include "cuda/runtime/staging.h"
#include "cuda/runtime/status.h"
#include "cuda/runtime/stream.h"

namespace diffusion {

struct Stream::Impl {
  OpenOptions options{};
  struct Block {
    void* data = nullptr;
    size_t bytes = 0;
  };
  std::array<Block, kScratchSlots> scratch;
  std::unique_ptr<cuda::Staging> staging;
  cuda::StatusFlag* status = nullptr;
  unsigned* arrivals = nullptr;
};

namespace cuda {

// Throws Error(device) or Error(out_of_memory).
Stream* open_stream(const OpenOptions& options);
void close_stream(Stream* stream);

// Around an operation that may report an index: clear, run, then wait for the stream and throw Error(option) for a
// report.
void clear_status(Stream& stream);
void check_status(Stream& stream, const char* operation);

}  // namespace cuda

}  // namespace diffusion
