// Says when the device has got somewhere, on a thread of its own that sleeps until then; in the order of the stream.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/backend.h"
#include "cuda/simt.h"

namespace diffusion::cuda {

class Completer {
 public:
  explicit Completer(Stream& stream);
  ~Completer();  // what has been submitted is told first
  Completer(const Completer&) = delete;
  Completer& operator=(const Completer&) = delete;

  // Executor thread; neither waits for the device, unless kMost items or the bytes of the ring are under way.
  void notify(Done done, void* context);
  void download(void* host, const void* device, size_t bytes, Done done, void* context);

 private:
  static constexpr size_t kMost = 256, kRingBytes = size_t{4} << 20, kPieceBytes = size_t{1} << 20;

  struct Item {
    cudaEvent_t event = nullptr;
    uint64_t replays = 0;  // launched before it
    const char* data = nullptr;
    void* host = nullptr;
    size_t bytes = 0, taken = 0;  // of the data, and of the ring
    std::unique_ptr<Failure> failure;
    Done done = nullptr;  // of the last piece
    void* context = nullptr;
  };
  void release();
  Item begin(size_t bytes);  // an event and a place in the ring
  void submit(Item item);
  void submit(Item item, Done done, void* context, std::unique_ptr<Failure> failure);
  void work();
  void complete(Item& item);

  Stream& stream_;
  char* ring_ = nullptr;
  std::mutex mutex_;
  std::condition_variable submitted_, freed_;
  std::deque<Item> items_;
  std::vector<cudaEvent_t> events_, free_events_;
  size_t at_ = 0, taken_ = 0;  // where the ring goes on, and how much of it is in use
  bool finished_ = false;
  std::unique_ptr<Failure> failed_;  // a piece of the read that is being told of
  std::thread thread_;
};

}  // namespace diffusion::cuda
