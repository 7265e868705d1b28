// The machine that is emulated: one device and a driver that suits it, unless the environment describes another:
//
//   DIFFUSION_EMULATOR="devices=2 free=1000000000 driver=12040 capability=75 error=802"
#pragma once

#include <cstddef>

namespace diffusion::emulator {

struct Machine {
  int devices = 1;
  int driver;           // as cudaDriverGetVersion gives it, 0: there is none
  int capability = 90;  // 10 · major + minor
  int error = 0;        // of every look for devices
  size_t free = 0;      // bytes that others leave of a device's memory, 0: as much as the computer has
};
Machine machine();

// The device that the calling thread has chosen.
int& current_device();

// Counts memory as taken from the current device; false when there is not so much.
bool take_memory(int device, size_t bytes);
void give_memory(int device, size_t bytes);

}  // namespace diffusion::emulator
