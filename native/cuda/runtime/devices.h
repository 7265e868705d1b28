// The CUDA devices of this machine, and why those that are not usable are not.
#pragma once

#include "core/backend.h"
#include "cuda/simt.h"

namespace diffusion::cuda {

#if defined(DIFFUSION_EMULATOR)
inline constexpr const char* kName = "emulator";
#else
inline constexpr const char* kName = "cuda";
#endif

// As Backend::list.
int32_t list_devices(DeviceDescription* devices, int32_t capacity);

// Success, or why the library cannot run on an architecture.
cudaError_t find_code(int ordinal, int major, int minor);

// An error that lasts makes a device useless to this process: the first one's message goes with every call from then
// on. Any thread.
void set_lost(int ordinal, const char* message);
bool is_lost(int ordinal, Failure* failure);

}  // namespace diffusion::cuda
