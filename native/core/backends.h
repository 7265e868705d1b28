// Backends are shared libraries, opened when first asked for and kept for the life of the process.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "core/backend.h"

namespace diffusion {

struct LoadedBackend {
  const Backend& api;
  std::array<std::atomic<int64_t>, 16> process_bytes{};  // per device: what all queues of this process hold

  explicit LoadedBackend(const Backend& api) : api(api) {}
};

// Opens the library at `path`; throws Error(device) with the linker's own words when that fails or the ABI differs.
LoadedBackend& load_backend(const std::string& path);

// Bytes held by one queue, and with all others on its device. Shared with commands that still hold staged data.
struct Account {
  LoadedBackend& backend;
  const int32_t ordinal;
  std::atomic<int64_t> bytes{0};

  void add(int64_t change) {
    bytes += change;
    process() += change;
  }
  // Adds unless that passes a limit, of this queue or of the process; several threads may try at once.
  bool try_add(int64_t change, int64_t limit, int64_t process_limit) {
    if ((bytes += change) <= limit) {
      if ((process() += change) <= process_limit) return true;
      process() -= change;
    }
    bytes -= change;
    return false;
  }
  std::atomic<int64_t>& process() {
    return backend.process_bytes[static_cast<size_t>(ordinal) % backend.process_bytes.size()];
  }
};

}  // namespace diffusion
