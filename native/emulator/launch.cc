#include "emulator/launch.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <thread>
#include <vector>

#include "emulator/state.h"

namespace diffusion::emulator {
namespace {

constexpr unsigned kMaxGridX = 0x7fffffffu, kMaxGridYZ = 65535, kMaxBlockZ = 64;
constexpr int kMostThreads = 8;

int usable_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::clamp(count, 1, kMostThreads);
}

// OS threads that help with one launch at a time; a launch that finds them taken runs on its own thread alone.
class Helpers {
 public:
  explicit Helpers(int count) {
    for (int i = 0; i < count; ++i) std::thread([this] { work(); }).detach();
    count_ = count;
  }

  // Calls task() on this thread and all helpers, and returns when all have.
  void run(const std::function<void()>& task) {
    const std::unique_lock turn(one_launch_, std::try_to_lock);
    if (!turn.owns_lock() || count_ == 0) return task();
    {
      const std::lock_guard hold(mutex_);
      task_ = &task;
      running_ = count_;
      ++number_;
    }
    wake_.notify_all();
    task();
    std::unique_lock hold(mutex_);
    done_.wait(hold, [this] { return running_ == 0; });
  }

 private:
  void work() {
    uint64_t seen = 0;
    std::unique_lock hold(mutex_);
    for (;;) {
      wake_.wait(hold, [&] { return number_ != seen; });
      seen = number_;
      const auto* task = task_;
      hold.unlock();
      (*task)();
      hold.lock();
      if (--running_ == 0) done_.notify_one();
    }
  }

  std::mutex one_launch_, mutex_;
  std::condition_variable wake_, done_;
  const std::function<void()>* task_ = nullptr;
  uint64_t number_ = 0;
  int running_ = 0, count_ = 0;
};

Helpers& helpers() {
  static auto& all = *new Helpers(usable_threads() - 1);  // never destroyed: their threads do not end
  return all;
}

// i → (multiplier · i + offset) mod count visits every number once.
struct Order {
  uint64_t count, multiplier, offset;

  Order(uint64_t count, uint64_t seed)
      : count(count), multiplier((seed * 0x9E3779B97F4A7C15ull >> 33) % count | 1), offset(seed % count) {
    while (std::gcd(multiplier, count) != 1) ++multiplier;
  }
  uint64_t operator()(uint64_t i) const {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(multiplier) * i + offset) % count);
  }
};

std::map<const void*, size_t>& opted_in() {
  static auto& map = *new std::map<const void*, size_t>;
  return map;
}

// "(kernel<float, 4>)", as launches of templates are written, without its parentheses. Kept for good.
const char* plain_name(const char* kernel) {
  if (kernel[0] != '(') return kernel;
  static auto& names = *new std::map<const char*, std::string>;
  const std::lock_guard hold(lock());
  std::string& name = names[kernel];
  if (name.empty()) name.assign(kernel + 1, std::string(kernel).rfind(')') - 1);
  return name.c_str();
}

cudaError_t check_limits(const void* function, const dim3& grid, const dim3& block, size_t shared_bytes) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMaxThreads || block.z > kMaxBlockZ) return cudaErrorInvalidConfiguration;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaErrorInvalidConfiguration;
  if (grid.x > kMaxGridX || grid.y > kMaxGridYZ || grid.z > kMaxGridYZ) return cudaErrorInvalidConfiguration;
  if (shared_bytes <= kMaxSharedDefault) return cudaSuccess;
  const std::lock_guard hold(lock());
  const auto found = opted_in().find(function);
  return found != opted_in().end() && shared_bytes <= found->second ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace

cudaError_t set_attribute(const void* function, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || static_cast<size_t>(value) > kMaxShared)
    return failed(cudaErrorInvalidValue);
  const std::lock_guard hold(lock());
  opted_in()[function] = static_cast<size_t>(value);
  return cudaSuccess;
}

std::string run_grid(Launch& launch) {
  const dim3 grid = launch.grid;
  const uint64_t count = uint64_t{grid.x} * grid.y * grid.z;
  Races races(count);
  launch.races = &races;
  const Order order(count, launch.seed);
  std::atomic<uint64_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::string fault;
  const std::function<void()> task = [&] {
    static thread_local const auto own = std::make_unique<Block>();  // small thread-local storage: see current_block
    Block& block = *own;
    for (uint64_t i; !stop && (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
      const uint64_t at = order(i);
      const dim3 index(static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y),
                       static_cast<unsigned>(at / grid.x / grid.y));
      const char* what = "the emulator has no memory left for the threads' stacks";
      try {
        if (block.run(launch, index, at)) continue;
        what = block.fault_text();
      } catch (const std::bad_alloc&) {
      }
      const std::lock_guard hold(mutex);
      if (!stop.exchange(true)) fault = what;
    }
  };
  if (count == 1)
    task();
  else
    helpers().run(task);
  return fault;
}

void submit_launch(const char* kernel, const void* function, dim3 grid, dim3 block, size_t shared_bytes,
                   cudaStream_t stream, std::function<std::string(Launch&)> run) {
  if (sticky() != cudaSuccess) return;
  if (const cudaError_t error = check_limits(function, grid, block, shared_bytes); error != cudaSuccess) {
    failed(error);
    return;
  }
  static std::atomic<uint64_t> number{0};
  Launch launch{plain_name(kernel), nullptr, nullptr, 0, grid, block, shared_bytes, ++number, nullptr};
  failed(enqueue(stream, [launch, run = std::move(run)]() mutable { return run(launch); }));
}

}  // namespace diffusion::emulator
