#include "emulator/device_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>

#include "emulator/state.h"
#include "emulator/wild_access.h"

namespace diffusion::emulator {

DeviceWindow device_window;

namespace {

constexpr size_t kLargest = size_t{1} << 38, kSmallest = size_t{1} << 30;
constexpr size_t kPage = 65536;
constexpr unsigned char kPoison = 0xFF;
constexpr size_t kMostPoisoned = size_t{64} << 20;  // of one allocation: large ones are left to the pages' first touch

struct State {
  std::mutex mutex;
  std::map<uintptr_t, size_t> reserved, mapped;
  std::multimap<uintptr_t, size_t> usable;
  uintptr_t next = 0;  // addresses are not used again soon, so that a late access meets nothing
  int users = 0;
  std::atomic<bool> left_open{false};
};
State& state() {
  static auto& all = *new State;
  return all;
}

size_t whole_pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }
uintptr_t to_number(const void* address) { return reinterpret_cast<uintptr_t>(address); }
void* to_pointer(uintptr_t address) { return reinterpret_cast<void*>(address); }

void* address_space(size_t bytes, int protection) {
  void* mapped = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return mapped == MAP_FAILED ? nullptr : mapped;
}

// As large as the system allows; what is never touched costs nothing.
void open_window() {
  catch_wild_accesses();
  constexpr int kBoth = PROT_READ | PROT_WRITE;
  for (size_t bytes = kLargest; bytes >= kSmallest && device_window.bytes == 0; bytes /= 2) {
    void* const parts[] = {address_space(bytes, PROT_NONE), address_space(bytes / 8, kBoth),
                           address_space(bytes * sizeof(int32_t), kBoth),
                           address_space(bytes * sizeof(int32_t), kBoth)};
    const size_t sizes[] = {bytes, bytes / 8, bytes * sizeof(int32_t), bytes * sizeof(int32_t)};
    if (std::find(std::begin(parts), std::end(parts), nullptr) != std::end(parts)) {
      for (int i = 0; i < 4; ++i)
        if (parts[i] != nullptr) munmap(parts[i], sizes[i]);
      continue;
    }
    for (int i = 0; i < 4; ++i) madvise(parts[i], sizes[i], MADV_DONTDUMP);
    device_window = {to_number(parts[0]), bytes, static_cast<uint8_t*>(parts[1]), static_cast<int32_t*>(parts[2]),
                     static_cast<int32_t*>(parts[3])};
    state().next = device_window.start + kPage;  // what lies before the first allocation is the device's, too
  }
}

void protect(const std::pair<const uintptr_t, size_t>& range, bool open) {
  mprotect(to_pointer(range.first), whole_pages(range.second), open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

// Bytes before the first whole granule count as usable, too.
void set_usable(uintptr_t address, size_t bytes, bool usable, bool to_write) {
  const size_t begin = (address - device_window.start) / 8, end = address + bytes - device_window.start;
  const uint8_t flag = to_write ? 16 : 0;
  std::memset(device_window.usable + begin, usable ? flag + 8 : 0, end / 8 - begin);
  if (end % 8 != 0) device_window.usable[end / 8] = static_cast<uint8_t>(usable ? flag + end % 8 : 0);
}

// Under the mutex.
void begin_one(State& all, uintptr_t address, size_t bytes, bool to_write) {
  if (bytes == 0) return;
  all.usable.emplace(address, bytes);
  set_usable(address, bytes, true, to_write);
}

void end_one(State& all, uintptr_t address, size_t bytes) {
  const auto [first, last] = all.usable.equal_range(address);
  const auto found = std::find_if(first, last, [=](const auto& range) { return range.second == bytes; });
  if (found == last) return;
  all.usable.erase(found);
  set_usable(address, bytes, false, false);
}

bool overlap(const Operand& a, const Operand& b) {
  return to_number(a.address) < to_number(b.address) + b.bytes && to_number(b.address) < to_number(a.address) + a.bytes;
}

void poison(void* address, size_t bytes) { std::memset(address, kPoison, std::min(bytes, kMostPoisoned)); }

}  // namespace

bool is_allocated(const void* address, size_t bytes) {
  State& all = state();
  const std::lock_guard hold(all.mutex);
  const uintptr_t at = to_number(address);
  const auto next = all.mapped.upper_bound(at);
  return next != all.mapped.begin() && at + bytes <= std::prev(next)->first + std::prev(next)->second;
}

bool is_usable(const void* address, size_t bytes, bool to_write) {
  if (bytes == 0) return true;
  const size_t offset = device_offset(address), end = offset + bytes;
  if (offset >= device_window.bytes || end > device_window.bytes) return false;
  for (size_t granule = offset / 8; granule * 8 < end; ++granule) {
    const uint8_t value = device_window.usable[granule];
    if ((to_write && value < 16) || value % 16 < std::min<size_t>(8, end - granule * 8)) return false;
  }
  return true;
}

std::string describe_address(const void* address) {
  State& all = state();
  const std::lock_guard hold(all.mutex);
  const uintptr_t at = to_number(address);
  char text[160];
  const auto next = all.usable.upper_bound(at);
  if (next != all.usable.begin()) {
    const auto [start, bytes] = *std::prev(next);
    const bool inside = at < start + bytes;
    if (inside || next == all.usable.end() || at - (start + bytes) < next->first - at) {
      snprintf(text, sizeof text, "%zu bytes %s the %zu bytes at %p", inside ? at - start : at - (start + bytes),
               inside ? "into" : "past the end of", bytes, to_pointer(start));
      return text;
    }
  }
  if (next == all.usable.end()) return "where nothing is allocated";
  snprintf(text, sizeof text, "%zu bytes before the %zu bytes at %p", next->first - at, next->second,
           to_pointer(next->first));
  return text;
}

void* reserve_range(size_t bytes) {
  static std::once_flag once;
  std::call_once(once, open_window);
  const size_t size = whole_pages(bytes) + kPage;  // a page nobody has between two ranges
  State& all = state();
  const std::lock_guard hold(all.mutex);
  const uintptr_t end = device_window.start + device_window.bytes;
  for (uintptr_t at : {all.next, device_window.start + kPage}) {
    auto after = all.reserved.lower_bound(at);
    if (after != all.reserved.begin()) at = std::max(at, std::prev(after)->first + std::prev(after)->second);
    for (;; at = after->first + after->second, ++after) {
      const bool last = after == all.reserved.end();
      if (size <= (last ? end : after->first) - at) {
        all.reserved[at] = size;
        all.next = at + size;
        return to_pointer(at);
      }
      if (last) break;
    }
  }
  return nullptr;
}

void release_range(void* address) {
  State& all = state();
  const std::lock_guard hold(all.mutex);
  all.reserved.erase(to_number(address));
}

void map_range(void* address, size_t bytes, bool for_kernels) {
  State& all = state();
  {
    const std::lock_guard hold(all.mutex);
    all.mapped[to_number(address)] = bytes;
    if (all.users > 0 || all.left_open) protect({to_number(address), bytes}, true);
    if (!for_kernels) return;
    begin_one(all, to_number(address), bytes, true);
  }
  const Opened opened;
  poison(address, bytes);
}

void unmap_range(void* address, size_t bytes) {
  State& all = state();
  const std::lock_guard hold(all.mutex);
  const auto start = to_number(address);
  const auto inside = [=](const auto& range) { return range.first >= start && range.first < start + bytes; };
  std::erase_if(all.usable, inside);
  set_usable(start, bytes, false, false);
  all.mapped.erase(start);
  const size_t size = whole_pages(bytes), offset = device_offset(address);
  mmap(address, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  for (int32_t* cells : {device_window.writers, device_window.readers})
    madvise(cells + offset, size * sizeof(int32_t), MADV_DONTNEED);
}

void begin_use(const std::vector<Operand>& operands) {
  using enum Operand::Use;
  State& all = state();
  {
    const std::lock_guard hold(all.mutex);
    for (const bool to_write : {false, true})  // an array that is read and written under two names may be written
      for (const Operand& operand : operands)
        if ((operand.use != read) == to_write) begin_one(all, to_number(operand.address), operand.bytes, to_write);
  }
  const Opened opened;
  for (const Operand& operand : operands) {
    const auto in_place = [&](const Operand& other) { return other.use != overwrite && overlap(operand, other); };
    if (operand.use == overwrite && std::none_of(operands.begin(), operands.end(), in_place))
      poison(operand.address, operand.bytes);
  }
}

void end_use(const std::vector<Operand>& operands) {
  State& all = state();
  const std::lock_guard hold(all.mutex);
  for (const Operand& operand : operands) end_one(all, to_number(operand.address), operand.bytes);
}

Opened::Opened() {
  State& all = state();
  const std::lock_guard hold(all.mutex);
  if (all.users++ > 0 || all.left_open) return;
  for (const auto& range : all.mapped) protect(range, true);
}

Opened::~Opened() {
  State& all = state();
  const std::lock_guard hold(all.mutex);
  if (--all.users > 0 || all.left_open) return;
  for (const auto& range : all.mapped) protect(range, false);
}

bool host_access(const void* address) {
  if (!on_device(address)) return false;
  static std::atomic_flag told;
  State& all = state();
  all.left_open = true;
  // The handler may have interrupted whoever holds the lock, so the ranges are opened without it, page by page.
  mprotect(to_pointer(to_number(address) / kPage * kPage), kPage, PROT_READ | PROT_WRITE);
  if (told.test_and_set()) return true;
  char text[120];
  snprintf(text, sizeof text, "host code has touched device memory, at %p", address);
  set_sticky_from_handler(text);
  return true;
}

}  // namespace diffusion::emulator
