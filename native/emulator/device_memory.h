// Device memory: one window of the address space, so that an address says by itself whether it is the device's. The
// host cannot reach it but while the runtime works. Every allocation that lives is known to the byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

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
bool is_usable(const void* address, size_t bytes);
std::string describe_address(const void* address);  // where it lies relative to what lives near it

// Address space, without memory behind it; null when there is none left. Given back with its memory.
void* reserve_range(size_t bytes);
void release_range(void* address);
void map_range(void* address, size_t bytes);
void unmap_range(void* address, size_t bytes);

// From here on kernels may use these bytes, and of allocations that overlap them nothing any more; or no longer.
void begin_life(void* address, size_t bytes, bool poisoned);  // poisoned: filled with NaN
void end_life(void* address, size_t bytes);

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
