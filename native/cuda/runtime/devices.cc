#include "cuda/runtime/devices.h"

#include <algorithm>
#include <cstdio>

#include "cuda/simt.h"

namespace diffusion::cuda {
namespace {

constexpr int kLowestMajor = 8;  // the first architecture that the library has code for

template <size_t kSize, class... Values>
void write(char (&text)[kSize], const char* format, Values... values) {
  snprintf(text, kSize, format, values...);
}

// One entry without a device: why there is none.
int32_t nothing(DeviceDescription& device, cudaError_t error) {
  device = {};
  write(device.id, "%s", kName);
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0)
    write(device.reason, "no NVIDIA driver found");
  else if (driver / 1000 < CUDART_VERSION / 1000)
    write(device.reason, "the NVIDIA driver is too old: it supports CUDA %d.%d, and CUDA %d.0 is needed", driver / 1000,
          driver % 1000 / 10, CUDART_VERSION / 1000);
  else if (error == cudaSuccess || error == cudaErrorNoDevice)
    write(device.reason, "the NVIDIA driver finds no device");
  else
    write(device.reason, "%s: %.200s", cudaGetErrorName(error), cudaGetErrorString(error));
  return 1;
}

void describe(DeviceDescription& device, int ordinal) {
  device = {};
#if defined(DIFFUSION_EMULATOR)
  write(device.id, "%s", kName);
#else
  write(device.id, "%s:%d", kName, ordinal);
#endif
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, ordinal); error != cudaSuccess) {
    cudaGetLastError();
    write(device.reason, "%s: %.200s", cudaGetErrorName(error), cudaGetErrorString(error));
    return;
  }
  write(device.name, "%.127s", properties.name);
  write(device.compute_capability, "%d.%d", properties.major, properties.minor);
  device.memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  device.available = properties.major >= kLowestMajor;
  if (!device.available)
    write(device.reason, "compute capability %d.%d is not supported: %d.0 or higher is needed", properties.major,
          properties.minor, kLowestMajor);
}

}  // namespace

int32_t list_devices(DeviceDescription* devices, int32_t capacity) {
  if (capacity < 1) return 0;
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    cudaGetLastError();
    return nothing(devices[0], error);
  }
  const int32_t shown = std::min<int32_t>(count, capacity);
  for (int32_t i = 0; i < shown; ++i) describe(devices[i], i);
  return shown;
}

}  // namespace diffusion::cuda
