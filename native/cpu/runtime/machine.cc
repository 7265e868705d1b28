#include "cpu/runtime/machine.h"

#include <sched.h>

#include <algorithm>
#include <climits>
#include <fstream>
#include <oneapi/dnnl/dnnl.hpp>
#include <sstream>

namespace diffusion::cpu {
namespace {

// The value after "key :" in a file of such lines, or "".
std::string field(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || line.compare(0, key.size(), key) != 0) continue;
    if (line.find_first_not_of(" \t", key.size()) != colon) continue;
    const size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

int64_t memory_field(const char* key) {
  std::istringstream text(field("/proc/meminfo", key));
  int64_t kilobytes = 0;
  return text >> kilobytes ? kilobytes * 1024 : INT64_MAX;
}

bool lists(const std::string& names, const std::string& name) {
  std::istringstream text(names);
  for (std::string one; std::getline(text, one, ',');)
    if (one == name) return true;
  return false;
}

// f(folder) for this process's control group and those above it, under version 2 (no controller) or 1.
template <class F>
void for_groups(const std::string& controller, const F& f) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controller.empty() ? !controllers.empty() : !lists(controllers, controller)) continue;
    const std::string root = controller.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controller;
    std::string path = line.substr(second + 1);
    while (!path.empty()) {
      f(root + (path == "/" ? "" : path));
      if (path == "/") break;
      path.resize(std::max<size_t>(1, path.rfind('/')));
    }
  }
}

int64_t number_in(const std::string& path) {
  std::ifstream file(path);
  int64_t number = 0;
  return file >> number ? number : INT64_MAX;  // "max" is not a number either
}

int64_t memory_limit() {
  int64_t limit = INT64_MAX;
  for_groups("", [&](const std::string& folder) { limit = std::min(limit, number_in(folder + "/memory.max")); });
  for_groups("memory",
             [&](const std::string& folder) { limit = std::min(limit, number_in(folder + "/memory.limit_in_bytes")); });
  return limit;
}

int64_t processors_of(int64_t quota, int64_t period) {
  if (quota <= 0 || quota == INT64_MAX || period <= 0 || period == INT64_MAX) return INT32_MAX;
  return std::max<int64_t>(1, (quota + period - 1) / period);
}

int32_t usable_threads() {
  int64_t threads = 1;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) threads = std::max(1, CPU_COUNT(&set));
  for_groups("", [&](const std::string& folder) {
    std::ifstream file(folder + "/cpu.max");
    int64_t quota = 0, period = 0;
    if (file >> quota >> period) threads = std::min(threads, processors_of(quota, period));
  });
  for_groups("cpu", [&](const std::string& folder) {
    threads = std::min(
        threads, processors_of(number_in(folder + "/cpu.cfs_quota_us"), number_in(folder + "/cpu.cfs_period_us")));
  });
  return static_cast<int32_t>(threads);
}

const char* instruction_set() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return computes_bf16() ? "avx512_bf16" : "avx512";
  if (__builtin_cpu_supports("x86-64-v3")) return "avx2";
  return "sse4.2";
#elif defined(__aarch64__)
  return "neon";
#else
  return "baseline";
#endif
}

}  // namespace

// oneDNN numbers instruction sets as sets of bits, each with those that it contains.
bool computes_bf16() {
  constexpr int kNeeded = dnnl_cpu_isa_avx512_core_bf16;
  return (static_cast<int>(dnnl::get_effective_cpu_isa()) & kNeeded) == kNeeded;
}

Machine machine() {
  Machine m;
  m.name = field("/proc/cpuinfo", "model name");
  if (m.name.empty()) m.name = "CPU";
  m.isa = instruction_set();
  m.threads = usable_threads();
  const int64_t limit = memory_limit();
  m.memory_bytes = std::min(memory_field("MemTotal"), limit);
  m.available_bytes = std::min(memory_field("MemAvailable"), limit);
  return m;
}

}  // namespace diffusion::cpu
