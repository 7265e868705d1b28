// Memory of the emulated runtime and driver.
#include <cstdlib>
#include <map>

#include "emulator/device_memory.h"
#include "emulator/machine.h"
#include "emulator/state.h"

namespace diffusion::emulator {
namespace {

constexpr size_t kGranularity = size_t{2} << 20;

// Bytes of each range of cudaMalloc, of each reserved range, and of each physical allocation.
struct Piece {
  size_t bytes;
  int device;
};
struct Ranges {
  std::map<uintptr_t, Piece> allocated;
  std::map<uintptr_t, size_t> reserved;
  std::map<CUmemGenericAllocationHandle, Piece> physical;
  CUmemGenericAllocationHandle next = 1;
};
Ranges& ranges() {
  static auto& all = *new Ranges;
  return all;
}

void* to_pointer(CUdeviceptr address) { return reinterpret_cast<void*>(static_cast<uintptr_t>(address)); }

bool whole(size_t bytes) { return bytes > 0 && bytes % kGranularity == 0; }

CUresult get_granularity(size_t* bytes, const CUmemAllocationProp*, CUmemAllocationGranularity_flags) {
  *bytes = kGranularity;
  return CUDA_SUCCESS;
}

CUresult address_reserve(CUdeviceptr* address, size_t bytes, size_t, CUdeviceptr, unsigned long long) {
  if (!whole(bytes)) return CUDA_ERROR_INVALID_VALUE;
  void* range = reserve_range(bytes);
  if (range == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  const std::lock_guard hold(lock());
  ranges().reserved[reinterpret_cast<uintptr_t>(range)] = bytes;
  *address = reinterpret_cast<uintptr_t>(range);
  return CUDA_SUCCESS;
}

CUresult address_free(CUdeviceptr address, size_t bytes) {
  const std::lock_guard hold(lock());
  const auto found = ranges().reserved.find(static_cast<uintptr_t>(address));
  if (found == ranges().reserved.end() || found->second != bytes) return CUDA_ERROR_INVALID_VALUE;
  ranges().reserved.erase(found);
  release_range(to_pointer(address));
  return CUDA_SUCCESS;
}

CUresult create(CUmemGenericAllocationHandle* handle, size_t bytes, const CUmemAllocationProp* property,
                unsigned long long) {
  if (!whole(bytes)) return CUDA_ERROR_INVALID_VALUE;
  if (property->location.id < 0 || property->location.id >= machine().devices) return CUDA_ERROR_INVALID_DEVICE;
  if (!take_memory(property->location.id, bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  const std::lock_guard hold(lock());
  *handle = ranges().next++;
  ranges().physical[*handle] = {bytes, property->location.id};
  return CUDA_SUCCESS;
}

CUresult release(CUmemGenericAllocationHandle handle) {
  const std::lock_guard hold(lock());
  const auto found = ranges().physical.find(handle);
  if (found == ranges().physical.end()) return CUDA_ERROR_INVALID_VALUE;
  give_memory(found->second.device, found->second.bytes);
  ranges().physical.erase(found);
  return CUDA_SUCCESS;
}

CUresult map(CUdeviceptr address, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
             unsigned long long) {
  const std::lock_guard hold(lock());
  const auto physical = ranges().physical.find(handle);
  const auto reserved = ranges().reserved.find(static_cast<uintptr_t>(address));
  const bool fits = physical != ranges().physical.end() && reserved != ranges().reserved.end() && offset == 0 &&
                    physical->second.bytes == bytes && reserved->second == bytes;
  return fits ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult set_access(CUdeviceptr address, size_t bytes, const CUmemAccessDesc*, size_t) {
  map_range(to_pointer(address), bytes, false);
  return CUDA_SUCCESS;
}

CUresult unmap(CUdeviceptr address, size_t bytes) {
  unmap_range(to_pointer(address), bytes);
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace diffusion::emulator

using namespace diffusion::emulator;

cudaError_t cudaMalloc(void** address, size_t bytes) {
  if (const cudaError_t error = allowed_while_capturing(); error != cudaSuccess) return failed(error);
  if (const cudaError_t error = sticky(); error != cudaSuccess) return error;
  *address = nullptr;
  if (bytes == 0) return cudaSuccess;
  const int device = current_device();
  if (!take_memory(device, bytes)) return failed(cudaErrorMemoryAllocation);
  void* range = reserve_range(bytes);
  if (range == nullptr) return give_memory(device, bytes), failed(cudaErrorMemoryAllocation);
  map_range(range, bytes, true);
  const std::lock_guard hold(lock());
  ranges().allocated[reinterpret_cast<uintptr_t>(range)] = {bytes, device};
  *address = range;
  return cudaSuccess;
}

cudaError_t cudaFree(void* address) {
  if (const cudaError_t error = allowed_while_capturing(); error != cudaSuccess) return failed(error);
  drain_all();
  if (address == nullptr) return sticky();
  size_t bytes;
  {
    const std::lock_guard hold(lock());
    const auto found = ranges().allocated.find(reinterpret_cast<uintptr_t>(address));
    if (found == ranges().allocated.end()) return failed(cudaErrorInvalidValue);
    bytes = found->second.bytes;
    give_memory(found->second.device, bytes);
    ranges().allocated.erase(found);
  }
  unmap_range(address, bytes);
  release_range(address);
  return sticky();
}

cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) {
  if (const cudaError_t error = allowed_while_capturing(); error != cudaSuccess) return failed(error);
  *address = std::malloc(bytes);
  return *address != nullptr ? cudaSuccess : failed(cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void* address) {
  if (const cudaError_t error = allowed_while_capturing(); error != cudaSuccess) return failed(error);
  drain_all();
  std::free(address);
  return sticky();
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  static const std::map<std::string, void*> functions = {
      {"cuMemGetAllocationGranularity", reinterpret_cast<void*>(get_granularity)},
      {"cuMemAddressReserve", reinterpret_cast<void*>(address_reserve)},
      {"cuMemAddressFree", reinterpret_cast<void*>(address_free)},
      {"cuMemCreate", reinterpret_cast<void*>(create)},
      {"cuMemRelease", reinterpret_cast<void*>(release)},
      {"cuMemMap", reinterpret_cast<void*>(map)},
      {"cuMemSetAccess", reinterpret_cast<void*>(set_access)},
      {"cuMemUnmap", reinterpret_cast<void*>(unmap)},
  };
  const auto found = functions.find(symbol);
  *function = found == functions.end() ? nullptr : found->second;
  *result = found == functions.end() ? cudaDriverEntryPointSymbolNotFound : cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
