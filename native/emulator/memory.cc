// Device memory of the emulated runtime: host memory, filled with NaN bytes when it is taken.
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>

#include "emulator/machine.h"
#include "emulator/state.h"

namespace diffusion::emulator {
namespace {

constexpr size_t kGranularity = size_t{2} << 20;
constexpr unsigned char kPoison = 0xFF;
constexpr size_t kMostPoisoned = size_t{64} << 20;  // of one allocation: large ones are left to the pages' first touch

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

void poison(void* address, size_t bytes) { std::memset(address, kPoison, std::min(bytes, kMostPoisoned)); }

void* to_pointer(CUdeviceptr address) { return reinterpret_cast<void*>(static_cast<uintptr_t>(address)); }

bool whole(size_t bytes) { return bytes > 0 && bytes % kGranularity == 0; }

CUresult get_granularity(size_t* bytes, const CUmemAllocationProp*, CUmemAllocationGranularity_flags) {
  *bytes = kGranularity;
  return CUDA_SUCCESS;
}

CUresult address_reserve(CUdeviceptr* address, size_t bytes, size_t, CUdeviceptr, unsigned long long) {
  if (!whole(bytes)) return CUDA_ERROR_INVALID_VALUE;
  void* mapped = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  const std::lock_guard hold(lock());
  ranges().reserved[reinterpret_cast<uintptr_t>(mapped)] = bytes;
  *address = reinterpret_cast<uintptr_t>(mapped);
  return CUDA_SUCCESS;
}

CUresult address_free(CUdeviceptr address, size_t bytes) {
  const std::lock_guard hold(lock());
  const auto found = ranges().reserved.find(static_cast<uintptr_t>(address));
  if (found == ranges().reserved.end() || found->second != bytes) return CUDA_ERROR_INVALID_VALUE;
  ranges().reserved.erase(found);
  munmap(to_pointer(address), bytes);
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
  if (mprotect(to_pointer(address), bytes, PROT_READ | PROT_WRITE) != 0) return CUDA_ERROR_INVALID_VALUE;
  poison(to_pointer(address), bytes);
  return CUDA_SUCCESS;
}

CUresult unmap(CUdeviceptr address, size_t bytes) {
  const bool done = mmap(to_pointer(address), bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
                         -1, 0) != MAP_FAILED;
  return done ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
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
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return give_memory(device, bytes), failed(cudaErrorMemoryAllocation);
  poison(mapped, bytes);
  const std::lock_guard hold(lock());
  ranges().allocated[reinterpret_cast<uintptr_t>(mapped)] = {bytes, device};
  *address = mapped;
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
  munmap(address, bytes);
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
