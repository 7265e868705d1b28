// A reference-counted piece of device memory. Owned and counted on the JavaScript thread only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/command.h"

namespace diffusion {

class Pool;

struct Storage {
  StorageId id;
  Pool* pool;     // the one that `address` comes from
  void* address;  // changes when a program's result moves out of the arena
  size_t bytes;
  int32_t references = 1;   // handles and programs
  uint64_t touched_by = 0;  // the last recording that took a reference
};

}  // namespace diffusion
