// The CUDA devices of this machine, and why those that are not usable are not.
#pragma once

#include "core/backend.h"

namespace diffusion::cuda {

#if defined(DIFFUSION_EMULATOR)
inline constexpr const char* kName = "emulator";
#else
inline constexpr const char* kName = "cuda";
#endif

// As Backend::list.
int32_t list_devices(DeviceDescription* devices, int32_t capacity);

}  // namespace diffusion::cuda
