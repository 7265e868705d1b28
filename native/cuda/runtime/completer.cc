#include "cuda/runtime/completer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/pool.h"
#include "cuda/runtime/stream_impl.h"

namespace diffusion::cuda {

Completer::Completer(Stream& stream) : stream_(stream) {
  check("open", cudaHostAlloc(reinterpret_cast<void**>(&ring_), kRingBytes, cudaHostAllocDefault));
  try {
    thread_ = std::thread([this] { work(); });
  } catch (...) {
    release();
    throw;
  }
}

Completer::~Completer() {
  {
    const std::lock_guard lock(mutex_);
    finished_ = true;
  }
  submitted_.notify_one();
  thread_.join();
  release();
}

void Completer::release() {
  for (const cudaEvent_t event : events_) cudaEventDestroy(event);
  if (ring_ != nullptr) cudaFreeHost(ring_);
}

// Places are freed in the order in which they were taken. What does not fit before the end of the ring begins at its
// start, and takes what it leaves out.
Completer::Item Completer::begin(size_t bytes) {
  Item item;
  item.bytes = bytes;
  const size_t wanted = Pool::rounded(bytes);
  std::unique_lock lock(mutex_);
  const size_t start = at_ + wanted <= kRingBytes ? at_ : 0;
  item.taken = wanted + (start < at_ ? kRingBytes - at_ : 0);
  freed_.wait(lock, [&] { return taken_ + item.taken <= kRingBytes && items_.size() < kMost; });
  if (free_events_.empty()) {
    cudaEvent_t event;
    check("read", cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync));
    events_.push_back(event);
    free_events_.push_back(event);
  }
  item.event = free_events_.back();
  free_events_.pop_back();
  item.data = ring_ + start;
  at_ = start + wanted;
  taken_ += item.taken;
  return item;
}

void Completer::submit(Item item) {
  item.replays = stream_.impl->replays->launched();
  {
    const std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
  }
  submitted_.notify_one();
}

void Completer::submit(Item item, Done done, void* context, std::unique_ptr<Failure> failure) {
  item.done = done;
  item.context = context;
  item.failure = std::move(failure);
  submit(std::move(item));
}

void Completer::notify(Done done, void* context) {
  auto failure = std::make_unique<Failure>();
  Item item;
  if (attempt(stream_, failure.get(), [&] {
        item = begin(0);
        check("synchronize", cudaEventRecord(item.event, stream_.handle));
      }))
    failure.reset();
  submit(std::move(item), done, context, std::move(failure));
}

void Completer::download(void* host, const void* device, size_t bytes, Done done, void* context) {
  auto failure = std::make_unique<Failure>();
  Item item;
  const bool sound = attempt(stream_, failure.get(), [&] {
    for (size_t at = 0; at < bytes; at += item.bytes) {
      if (at > 0) submit(std::exchange(item, {}));
      item = begin(std::min(kPieceBytes, bytes - at));
      item.host = static_cast<char*>(host) + at;
      check("read", cudaMemcpyAsync(const_cast<char*>(item.data), static_cast<const char*>(device) + at, item.bytes,
                                    cudaMemcpyDeviceToHost, stream_.handle));
      check("read", cudaEventRecord(item.event, stream_.handle));
    }
  });
  if (sound) failure.reset();
  submit(std::move(item), done, context, std::move(failure));
}

void Completer::work() {
  cudaSetDevice(stream_.ordinal);
  std::unique_lock lock(mutex_);
  for (;;) {
    submitted_.wait(lock, [this] { return finished_ || !items_.empty(); });
    if (items_.empty()) return;
    Item item = std::move(items_.front());
    lock.unlock();
    complete(item);
    lock.lock();
    items_.pop_front();
    if (item.event != nullptr) free_events_.push_back(item.event);
    taken_ -= item.taken;
    freed_.notify_one();
  }
}

void Completer::complete(Item& item) {
  if (!item.failure) {
    auto failure = std::make_unique<Failure>();
    if (attempt(stream_, failure.get(), [&] { check("read", cudaEventSynchronize(item.event)); })) {
      stream_.impl->replays->collect(item.replays);
      if (item.host != nullptr) std::memcpy(item.host, item.data, item.bytes);
    } else {
      item.failure = std::move(failure);
    }
  }
  if (item.failure && !failed_) failed_ = std::move(item.failure);
  if (item.done == nullptr) return;
  const auto failure = std::exchange(failed_, nullptr);
  item.done(item.context, failure.get());
}

}  // namespace diffusion::cuda
