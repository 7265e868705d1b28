// Errors and the device of the emulated runtime.
#include "emulator/runtime.h"

#include <sys/sysinfo.h>

#include <atomic>
#include <cstdio>
#include <cstring>

#include "emulator/block.h"
#include "emulator/machine.h"
#include "emulator/state.h"

namespace diffusion::emulator {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
std::atomic<bool> is_sticky{false};
char handler_text[160];
std::atomic<bool> from_handler{false};
// Never destroyed: threads of streams may outlive the statics of this library.
std::string& sticky_text() {
  static auto& text = *new std::string;
  return text;
}

}  // namespace

std::mutex& lock() {
  static auto& mutex = *new std::mutex;
  return mutex;
}

std::condition_variable& changed() {
  static auto& condition = *new std::condition_variable;
  return condition;
}

cudaError_t failed(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) last_error = error;
  return error;
}

cudaError_t sticky() {
  return is_sticky.load(std::memory_order_acquire) ? failed(cudaErrorLaunchFailure) : cudaSuccess;
}

void set_sticky(const std::string& fault) {
  const std::lock_guard hold(lock());
  if (is_sticky) return;
  sticky_text() = fault;
  is_sticky.store(true, std::memory_order_release);
}

void set_sticky_from_handler(const char* fault) {
  if (is_sticky) return;
  snprintf(handler_text, sizeof handler_text, "%s", fault);
  from_handler = true;
  is_sticky.store(true, std::memory_order_release);
}

void clear_sticky() {
  const std::lock_guard hold(lock());
  from_handler = false;
  is_sticky = false;
  last_error = cudaSuccess;
}

}  // namespace diffusion::emulator

using namespace diffusion::emulator;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define X(name) \
  case name:    \
    return #name;
    X(cudaSuccess)
    X(cudaErrorInvalidValue)
    X(cudaErrorMemoryAllocation)
    X(cudaErrorInvalidConfiguration)
    X(cudaErrorInsufficientDriver)
    X(cudaErrorNoDevice)
    X(cudaErrorInvalidDevice)
    X(cudaErrorInvalidResourceHandle)
    X(cudaErrorNotReady)
    X(cudaErrorLaunchFailure)
    X(cudaErrorSystemNotReady)
    X(cudaErrorStreamCaptureUnsupported)
    X(cudaErrorStreamCaptureInvalidated)
    X(cudaErrorStreamCaptureUnmatched)
    X(cudaErrorStreamCaptureUnjoined)
    X(cudaErrorStreamCaptureIsolation)
    X(cudaErrorStreamCaptureImplicit)
    X(cudaErrorCapturedEvent)
    X(cudaErrorStreamCaptureWrongThread)
#undef X
  }
  return "cudaErrorUnknown";
}

const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorLaunchFailure && sticky() != cudaSuccess)
    return from_handler ? handler_text : sticky_text().c_str();  // written once
  switch (error) {
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument: more threads, or a larger grid, than the device takes";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    default:
      return cudaGetErrorName(error);
  }
}

cudaError_t cudaPeekAtLastError() {
  if (const cudaError_t error = sticky(); error != cudaSuccess) return error;
  return last_error;
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = cudaPeekAtLastError();
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = machine().driver;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  const Machine here = machine();
  *count = here.devices;
  if (here.driver / 1000 < CUDART_VERSION / 1000) return failed(cudaErrorInsufficientDriver);
  if (here.error != 0) return failed(static_cast<cudaError_t>(here.error));
  return here.devices > 0 ? cudaSuccess : failed(cudaErrorNoDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  const Machine here = machine();
  if (device < 0 || device >= here.devices) return failed(cudaErrorInvalidDevice);
  *properties = {};
  snprintf(properties->name, sizeof properties->name, "Emulated CUDA device");
  size_t free;
  cudaMemGetInfo(&free, &properties->totalGlobalMem);
  properties->sharedMemPerBlock = kMaxSharedDefault;
  properties->sharedMemPerBlockOptin = kMaxShared;
  properties->major = here.capability / 10;
  properties->minor = here.capability % 10;
  properties->multiProcessorCount = 4;
  properties->maxThreadsPerBlock = kMaxThreads;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, device); error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(properties.sharedMemPerBlockOptin);
      return cudaSuccess;
  }
  return failed(cudaErrorInvalidValue);
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= machine().devices) return failed(cudaErrorInvalidDevice);
  current_device() = device;
  return sticky();
}

cudaError_t cudaGetDevice(int* device) {
  *device = current_device();
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  struct sysinfo information{};
  sysinfo(&information);
  *total = static_cast<size_t>(information.totalram) * information.mem_unit;
  *free = static_cast<size_t>(information.freeram + information.bufferram) * information.mem_unit;
  return cudaSuccess;
}

cudaError_t cudaDeviceReset() {
  drain_all();
  clear_sticky();
  return cudaSuccess;
}
