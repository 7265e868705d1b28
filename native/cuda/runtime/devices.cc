#include "cuda/runtime/devices.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string>

#include "core/guard.h"

namespace diffusion::cuda {
namespace {

constexpr int kLowestMajor = 8;
constexpr int kMostDevices = 64;

// Never destroyed: executors may still run while the process exits.
std::atomic<const std::string*> lost[kMostDevices];

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

template <size_t kSize>
void write_id(char (&id)[kSize], int ordinal) {
#if defined(DIFFUSION_EMULATOR)
  if (ordinal == 0) return write(id, "%s", kName);
#endif
  write(id, "%s:%d", kName, ordinal);
}

void describe(DeviceDescription& device, int ordinal) {
  device = {};
  write_id(device.id, ordinal);
  if (Failure failure; is_lost(ordinal, &failure)) return write(device.reason, "%.255s", failure.message);
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, ordinal); error != cudaSuccess) {
    cudaGetLastError();
    write(device.reason, "%s: %.200s", cudaGetErrorName(error), cudaGetErrorString(error));
    return;
  }
  write(device.name, "%.127s", properties.name);
  write(device.compute_capability, "%d.%d", properties.major, properties.minor);
  device.memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  if (properties.major < kLowestMajor)
    return write(device.reason, "compute capability %d.%d is not supported: %d.0 or higher is needed", properties.major,
                 properties.minor, kLowestMajor);
  if (const cudaError_t error = find_code(ordinal, properties.major, properties.minor); error != cudaSuccess)
    return write(device.reason, "the library has no code for compute capability %d.%d: %s", properties.major,
                 properties.minor, cudaGetErrorName(error));
  device.available = true;
}

}  // namespace

void set_lost(int ordinal, const char* message) {
  char id[16];
  write_id(id, ordinal);
  const std::string* none = nullptr;
  const auto* text = new std::string(std::string(id) + " is lost: " + message);
  if (!lost[ordinal % kMostDevices].compare_exchange_strong(none, text)) delete text;
}

bool is_lost(int ordinal, Failure* failure) {
  const std::string* text = lost[ordinal % kMostDevices].load(std::memory_order_acquire);
  if (text == nullptr) return false;
  report(failure, code::device, text->c_str());
  failure->lost = true;
  return true;
}

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
