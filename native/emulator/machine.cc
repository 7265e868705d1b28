#include "emulator/machine.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <string>

#include "emulator/runtime.h"

namespace diffusion::emulator {
namespace {

constexpr int kMostDevices = 8;
std::array<std::atomic<size_t>, kMostDevices> taken;

// The number behind " name=" in the text, or `value`.
long long setting(const std::string& text, const std::string& name, long long value) {
  const size_t at = (" " + text).find(" " + name + "=");
  return at == std::string::npos ? value : std::atoll(text.c_str() + at + name.size() + 1);
}

}  // namespace

Machine machine() {
  const char* given = std::getenv("DIFFUSION_EMULATOR");
  const std::string text = given == nullptr ? "" : given;
  Machine machine;
  machine.devices = std::min(static_cast<int>(setting(text, "devices", machine.devices)), kMostDevices);
  machine.driver = static_cast<int>(setting(text, "driver", CUDART_VERSION));
  machine.capability = static_cast<int>(setting(text, "capability", machine.capability));
  machine.error = static_cast<int>(setting(text, "error", 0));
  machine.free = static_cast<size_t>(setting(text, "free", 0));
  return machine;
}

int& current_device() {
  static thread_local int device = 0;
  return device;
}

bool take_memory(int device, size_t bytes) {
  std::atomic<size_t>& sum = taken[static_cast<size_t>(device)];
  const size_t most = machine().free;
  if ((sum += bytes) <= most || most == 0) return true;
  sum -= bytes;
  return false;
}

void give_memory(int device, size_t bytes) { taken[static_cast<size_t>(device)] -= bytes; }

}  // namespace diffusion::emulator
