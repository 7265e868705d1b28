// Address space at once, memory later: the driver's virtual memory management.
#pragma once

#include <cstddef>

namespace diffusion::cuda {

// Any thread, microseconds; null when the driver refuses.
void* reserve_address(int ordinal, size_t bytes);
// Throws Error(out_of_memory or device).
void map_memory(int ordinal, void* address, size_t bytes);
// Waits for the device first: unmapping is not ordered with its streams.
void unreserve_address(int ordinal, void* address, size_t bytes);

}  // namespace diffusion::cuda
