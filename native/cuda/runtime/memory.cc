#include "cuda/runtime/memory.h"

#include <map>
#include <mutex>

#include "core/error.h"
#include "cuda/runtime/stream.h"
#if !defined(DIFFUSION_EMULATOR)
#include <cuda.h>
#endif

namespace diffusion::cuda {
namespace {

constexpr unsigned kDriverVersion = 12000;  // whose signatures these are

// The library does not link against the driver, so that it loads without one.
template <class Function>
Function driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result{};
  check(name, cudaGetDriverEntryPointByVersion(name, &function, kDriverVersion, cudaEnableDefault, &result));
  if (function == nullptr || result != cudaDriverEntryPointSuccess)
    fail(code::device, "%s: the driver has no such function", name);
  return reinterpret_cast<Function>(function);
}

using Flags = unsigned long long;
using Handle = CUmemGenericAllocationHandle;
using Property = CUmemAllocationProp;

struct Driver {
  template <class... Arguments>
  using Function = CUresult (*)(Arguments...);

  Function<size_t*, const Property*, CUmemAllocationGranularity_flags> granularity =
      driver_function<decltype(granularity)>("cuMemGetAllocationGranularity");
  Function<CUdeviceptr*, size_t, size_t, CUdeviceptr, Flags> reserve =
      driver_function<decltype(reserve)>("cuMemAddressReserve");
  Function<CUdeviceptr, size_t> free = driver_function<decltype(free)>("cuMemAddressFree");
  Function<Handle*, size_t, const Property*, Flags> create = driver_function<decltype(create)>("cuMemCreate");
  Function<Handle> release = driver_function<decltype(release)>("cuMemRelease");
  Function<CUdeviceptr, size_t, size_t, Handle, Flags> map = driver_function<decltype(map)>("cuMemMap");
  Function<CUdeviceptr, size_t, const CUmemAccessDesc*, size_t> set_access =
      driver_function<decltype(set_access)>("cuMemSetAccess");
  Function<CUdeviceptr, size_t> unmap = driver_function<decltype(unmap)>("cuMemUnmap");
};

const Driver& driver() {
  static const Driver functions;  // tried again when it threw
  return functions;
}

CUmemLocation location_of(int ordinal) {
  CUmemLocation location{};
  location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  location.id = ordinal;
  return location;
}

Property property_of(int ordinal) {
  Property property{};
  property.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  property.location = location_of(ordinal);
  return property;
}

size_t whole_granules(int ordinal, size_t bytes) {
  size_t granule = 0;
  const Property property = property_of(ordinal);
  if (driver().granularity(&granule, &property, CU_MEM_ALLOC_GRANULARITY_MINIMUM) != CUDA_SUCCESS || granule == 0)
    fail(code::device, "cuMemGetAllocationGranularity failed for device %d", ordinal);
  return (bytes + granule - 1) / granule * granule;
}

// Which reserved ranges are mapped.
struct Mapped {
  std::mutex mutex;
  std::map<void*, Handle> handles;
};
Mapped& mapped() {
  static auto& all = *new Mapped;  // executors may still run while the process exits
  return all;
}

CUdeviceptr device_address(void* address) { return reinterpret_cast<CUdeviceptr>(address); }

}  // namespace

void* reserve_address(int ordinal, size_t bytes) {
  CUdeviceptr address = 0;
  if (driver().reserve(&address, whole_granules(ordinal, bytes), 0, 0, 0) != CUDA_SUCCESS) return nullptr;
  return reinterpret_cast<void*>(address);
}

void map_memory(int ordinal, void* address, size_t bytes) {
  const size_t size = whole_granules(ordinal, bytes);
  const Property property = property_of(ordinal);
  Handle handle{};
  if (const CUresult result = driver().create(&handle, size, &property, 0); result == CUDA_ERROR_OUT_OF_MEMORY)
    fail(code::out_of_memory, "out of device memory: the device does not have the %zu bytes that were asked of it",
         size);
  else if (result != CUDA_SUCCESS)
    fail(code::device, "cuMemCreate: %zu bytes of device %d: driver error %d", size, ordinal, static_cast<int>(result));
  CUmemAccessDesc access{};
  access.location = location_of(ordinal);
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  CUresult result = driver().map(device_address(address), size, 0, handle, 0);
  if (result == CUDA_SUCCESS) {
    result = driver().set_access(device_address(address), size, &access, 1);
    if (result != CUDA_SUCCESS) driver().unmap(device_address(address), size);
  }
  if (result != CUDA_SUCCESS) {
    driver().release(handle);
    fail(code::device, "cuMemMap: %zu bytes of device %d could not be mapped (driver error %d)", size, ordinal,
         static_cast<int>(result));
  }
  Mapped& all = mapped();
  const std::lock_guard lock(all.mutex);
  all.handles[address] = handle;
}

void unreserve_address(int ordinal, void* address, size_t bytes) {
  Handle handle{};
  bool is_mapped = false;
  {
    Mapped& all = mapped();
    const std::lock_guard lock(all.mutex);
    if (const auto found = all.handles.find(address); found != all.handles.end()) {
      handle = found->second;
      is_mapped = true;
      all.handles.erase(found);
    }
  }
  const size_t size = whole_granules(ordinal, bytes);
  if (is_mapped) {
    cudaSetDevice(ordinal);
    cudaDeviceSynchronize();  // after a failure there is no work left to wait for
    driver().unmap(device_address(address), size);
    driver().release(handle);
  }
  driver().free(device_address(address), size);
}

}  // namespace diffusion::cuda
