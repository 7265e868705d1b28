#include "emulator/block.h"

#include <algorithm>
#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace diffusion::emulator {

constinit thread_local Block* current_block __attribute__((tls_model("initial-exec"))) = nullptr;

namespace {
// Shared memory starts as NaN of every floating type. The zones around it must still hold the same bytes at the end of
// a block.
constexpr unsigned char kPoison = 0xFF;
constexpr size_t kZone = 4096, kAlignment = 1024;
}  // namespace

Block::Block() : memory_(new unsigned char[kMaxShared + 2 * kZone + kAlignment]) {
  catch_wild_accesses();
  const auto start = reinterpret_cast<uintptr_t>(memory_.get()) + kZone;
  shared_ = reinterpret_cast<unsigned char*>((start + kAlignment - 1) / kAlignment * kAlignment);
  std::memset(memory_.get(), kPoison, kMaxShared + 2 * kZone + kAlignment);
}

Block::~Block() = default;

bool Block::run(const Launch& launch, dim3 index, uint64_t number) {
  launch_ = &launch;
  index_ = index;
  first_number_ = launch.races->first();
  number_ = launch.races->number(number);
  published_ = true;
  known_.clear();
  faulted_ = false;
  const int count = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
  const int warps = (count + kWarpSize - 1) / kWarpSize;
  std::memset(shared_ - kZone, kPoison, launch.shared_bytes + 2 * kZone);
  stacks_.require(static_cast<size_t>(count));
  free_stacks_.clear();
  for (int i = count; i-- > 0;) free_stacks_.push_back(i);
  threads_.resize(static_cast<size_t>(count));
  copies_.resize(static_cast<size_t>(count));
  dim3 at(0, 0, 0);
  for (int i = 0; i < count; ++i) {
    threads_[static_cast<size_t>(i)] = {nullptr, at, i / kWarpSize, i % kWarpSize, -1, nullptr};
    copies_[static_cast<size_t>(i)].clear();
    if (++at.x < launch.block.x) continue;
    at.x = 0;
    if (++at.y < launch.block.y) continue;
    at.y = 0;
    ++at.z;
  }
  for (int w = 0; w < warps; ++w) {
    const int lanes = std::min(kWarpSize, count - w * kWarpSize);
    const uint32_t all = lanes == kWarpSize ? ~0u : (1u << lanes) - 1;
    warps_[w] = {all, all, 0, 0, nullptr, &threads_[static_cast<size_t>(w * kWarpSize)]};
  }
  ready_warps_ = warps == 32 ? ~0u : (1u << warps) - 1;
  alive_ = count;
  waiting_ = 0;
  state_ = (launch.seed + 1) * 0x9E3779B97F4A7C15ull ^
           (uint64_t{index.x} << 32 | (index.y << 16) | index.z) * 0xD1B54A32D192ED03ull;
  if (state_ == 0) state_ = 1;

  current_ = nullptr;
  Thread* first = pick();
  current_block = this;
  resume(first, &main_);
  current_block = nullptr;
  if (faulted_) stacks_.forget_frames();
  if (!faulted_ && !shared_memory_is_intact()) {
    faulted_ = true;
    snprintf(fault_, sizeof fault_, "kernel %s, block (%u, %u, %u): wrote outside its %zu bytes of shared memory",
             launch.kernel, index.x, index.y, index.z, launch.shared_bytes);
  }
  return !faulted_;
}

bool Block::shared_memory_is_intact() const {
  const auto poisoned = [](const unsigned char* zone) {
    return zone[0] == kPoison && std::memcmp(zone, zone + 1, kZone - 1) == 0;
  };
  return poisoned(shared_ - kZone) && poisoned(shared_ + launch_->shared_bytes);
}

void Block::fault(const char* format, ...) {
  const dim3 thread = current_->index;
  const int n =
      snprintf(fault_, sizeof fault_, "kernel %.160s, block (%u, %u, %u), thread (%u, %u, %u): ", launch_->kernel,
               index_.x, index_.y, index_.z, thread.x, thread.y, thread.z);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(fault_ + n, sizeof fault_ - static_cast<size_t>(n), format, arguments);
  va_end(arguments);
  faulted_ = true;
  return_to_main();
}

DIFFUSION_ABANDONED void Block::return_to_main() {
  void* abandoned;
  switch_stack(&abandoned, main_, main_stack_, true);
  __builtin_unreachable();
}

uint32_t Block::random() {
  state_ ^= state_ << 13;
  state_ ^= state_ >> 7;
  state_ ^= state_ << 17;
  return static_cast<uint32_t>(state_ >> 32);
}

// Any thread that can run: hardware promises no order. Null when none can.
Thread* Block::pick() {
  if (ready_warps_ == 0) return nullptr;
  const uint32_t r = random();
  int w = current_ != nullptr && (r & 3) != 0 ? current_->warp : -1;
  if (w < 0 || (ready_warps_ >> w & 1) == 0) {
    const int turn = static_cast<int>(r >> 8 & 31);
    w = (std::countr_zero(std::rotr(ready_warps_, turn)) + turn) & 31;
  }
  const int turn = static_cast<int>(r >> 16 & 31);
  const int lane = (std::countr_zero(std::rotr(warps_[w].ready, turn)) + turn) & 31;
  return warps_[w].threads + lane;
}

DIFFUSION_ABANDONED void Block::resume(Thread* next, void** save, bool for_good) {
  current_ = next;
  if (next->stack_pointer == nullptr) {
    next->stack = free_stacks_.back();
    free_stacks_.pop_back();
    next->stack_pointer = prepare_fiber(stacks_.top(static_cast<size_t>(next->stack)), &Block::enter);
  }
  switch_stack(save, next->stack_pointer, stacks_.bounds(static_cast<size_t>(next->stack)), for_good);
}

// Runs threads one after another on this stack, until one that has begun elsewhere is to go on.
DIFFUSION_ABANDONED void Block::enter() {
  begin_fiber();
  Block& block = *current_block;
  for (;;) {
    block.launch_->body(block.launch_->arguments);
    const int stack = block.current_->stack;
    block.leave();
    Thread* next = block.pick();
    if (next == nullptr && block.alive_ > 0)
      block.fault("deadlock: the %d threads that are left all wait", block.alive_);
    if (next == nullptr) block.return_to_main();
    if (next->stack_pointer == nullptr) {
      next->stack = stack;
      block.current_ = next;
    } else {
      block.free_stacks_.push_back(stack);
      void* abandoned;
      block.resume(next, &abandoned, true);
    }
  }
}

void Block::leave() {
  Warp& warp = warps_[current_->warp];
  const uint32_t bit = 1u << current_->lane;
  if (waiting_ > 0) fault("left the kernel while %d threads wait at __syncthreads in line %d", waiting_, barrier_line_);
  if (warp.arrived != 0 && (warp.mask & bit) != 0)
    fault("left the kernel while lanes %08x wait for it in %s with mask %08x", warp.arrived, warp.operation, warp.mask);
  // Nowhere does CUDA promise that they end before the shared memory is somebody else's.
  if (const size_t copies = this->copies().under_way(); copies > 0)
    fault("left the kernel with %zu copies of cp.async that it has not waited for", copies);
  warp.alive &= ~bit;
  warp.ready &= ~bit;
  if (warp.ready == 0) ready_warps_ &= ~(1u << current_->warp);
  --alive_;
}

void Block::suspend() {
  Warp& warp = warps_[current_->warp];
  warp.ready &= ~(1u << current_->lane);
  if (warp.ready == 0) ready_warps_ &= ~(1u << current_->warp);
  Thread* next = pick();
  if (next == nullptr)
    fault("deadlock: all %d threads wait, %d of them at __syncthreads in line %d", alive_, waiting_, barrier_line_);
  resume(next, &current_->stack_pointer);
}

void Block::barrier(int line) {
  const auto count = static_cast<int>(threads_.size());
  if (alive_ != count)
    fault("reached __syncthreads in line %d after %d threads of its block have left the kernel", line, count - alive_);
  if (waiting_ > 0 && line != barrier_line_)
    fault("reached __syncthreads in line %d while %d threads wait in line %d", line, waiting_, barrier_line_);
  barrier_line_ = line;
  if (++waiting_ < alive_) return suspend();
  waiting_ = 0;
  for (int w = 0; w * kWarpSize < count; ++w) {
    warps_[w].ready = warps_[w].alive;
    wake(w);
  }
  Thread* next = pick();
  if (next != current_) resume(next, &current_->stack_pointer);
}

bool Block::arrive(uint32_t mask, const char* operation, void* slot) {
  Warp& warp = warps_[current_->warp];
  const uint32_t bit = 1u << current_->lane;
  if ((mask & bit) == 0) fault("%s: mask %08x lacks the lane that calls, %d", operation, mask, current_->lane);
  if ((mask & ~warp.alive) != 0)
    fault("%s: mask %08x names lanes %08x, which do not exist or have left the kernel", operation, mask,
          mask & ~warp.alive);
  if (warp.arrived != 0 &&
      (warp.mask != mask || (warp.operation != operation && std::strcmp(warp.operation, operation) != 0)))
    fault("%s with mask %08x while lanes %08x wait in %s with mask %08x", operation, mask, warp.arrived, warp.operation,
          warp.mask);
  warp.mask = mask;
  warp.operation = operation;
  warp.arrived |= bit;
  current_->slot = slot;
  if (warp.arrived == mask) return true;
  suspend();
  return false;
}

void* Block::slot(int lane) const {
  const Warp& warp = warps_[current_->warp];
  return (warp.mask >> lane & 1) != 0 ? warp.threads[lane].slot : nullptr;
}

void Block::complete() {
  Warp& warp = warps_[current_->warp];
  warp.arrived = 0;
  warp.ready |= warp.mask;
  wake(current_->warp);
}

}  // namespace diffusion::emulator
