// Device memory: one window of the address space, so that an address says by itself whether it is the device's. The
// host cannot reach it but while the runtime works. What kernels may use is known to the byte: all that cudaMalloc
// gave, and of memory mapped through the driver, which a pool cuts into tensors, the operands of the operation that
// runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace diffusion::emulator {

struct DeviceWindow {
  uintptr_t start = 0;
  size_t bytes = 0;
  uint8_t* usable = nullptr;   // for each 8 bytes: how many of them, from the first, are part of a live allocation
  int32_t* writers = nullptr;  // for each byte: see races.h
  int32_t* readers = nullptr;
};
extern DeviceWindow device_window;

inline size_t device_offset(const void* address) { return reinterpret_cast<uintptr_t>(address) - device_window.start; }
inline bool on_device(const void* address) { return device_offset(address) < device_window.bytes; }
bool is_allocated(const void* address, size_t bytes);
bool is_usable(const void* address, size_t bytes, bool to_write);
std::string describe_address(const void* address);  // where it lies relative to what is usable near it

// Address space, without memory behind it; null when there is none left. Given back with its memory.
void* reserve_range(size_t bytes);
void release_range(void* address);

// With memory behind it; for_kernels: usable, and full of NaN.
void map_range(void* address, size_t bytes, bool for_kernels);
void unmap_range(void* address, size_t bytes);

// What kernels may use of mapped memory.
struct Operand {
  enum class Use { read, update, overwrite };  // overwrite: full of NaN until it is written
  void* address;
  size_t bytes;
  Use use;
};
void begin_use(const std::vector<Operand>& operands);
void end_use(const std::vector<Operand>& operands);

// While one exists, this process can reach device memory: kernels and copies run.
class Opened {
 public:
  Opened();
  ~Opened();
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
};

// The host has touched a device address: that is a sticky error, and the memory stays open so that it can go on. False
// when the address is not the device's. May be called in a signal handler.
bool host_access(const void* address);

}  // namespace diffusion::emulator
