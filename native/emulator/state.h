// What the parts of the emulated runtime share.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "emulator/runtime.h"

namespace diffusion::emulator {

// A piece of queued work; returns the fault that it met, or "". May run many times when a graph holds it.
using Work = std::function<std::string()>;

// One lock for all streams and events: kernels run without it.
std::mutex& lock();
std::condition_variable& changed();

// Keeps `error` as the calling thread's last error, and returns it.
cudaError_t failed(cudaError_t error);
// The sticky error, or success. Without the lock.
cudaError_t sticky();
void set_sticky(const std::string& fault);
void set_sticky_from_handler(const char* fault);  // in a signal handler
void clear_sticky();

// Queues work, or adds it to the capture under way on this stream. The legacy default stream (null) runs it at once.
cudaError_t enqueue(cudaStream_t stream, Work work, bool start = false);
// cudaSuccess, or why the calling thread may not synchronise or allocate now: that spoils the capture, too.
cudaError_t allowed_while_capturing();
void drain_all();
void start(CUstream_st& stream);  // somebody waits for it; with the lock
// No thread may ask for the state of a stream that is captured, or of an event in a capture: that spoils it.
cudaError_t refuse_captured(const std::shared_ptr<struct Capture>& capture, cudaError_t error);

// In graph.cc, for streams and events that are captured; with the lock.
void add_to_capture(CUstream_st& stream, Work work);
void record_in_capture(CUevent_st& event, CUstream_st& stream);
cudaError_t wait_in_capture(CUstream_st& stream, const CUevent_st& event);

}  // namespace diffusion::emulator

struct CUgraph_st {
  std::vector<diffusion::emulator::Work> nodes;  // in an order that respects all dependencies
};
struct CUgraphExec_st {
  std::vector<diffusion::emulator::Work> nodes;
};

namespace diffusion::emulator {

// How many nodes of each stream come before something.
using Clock = std::map<cudaStream_t, size_t>;

// Of a stream, and of those that have joined it by waiting for an event of it.
struct Capture {
  CUgraph_st graph;
  cudaStream_t origin;
  cudaStreamCaptureMode mode;
  std::thread::id capturer;
  bool spoilt = false;
  std::map<cudaStream_t, Clock> members;
};

}  // namespace diffusion::emulator

struct CUstream_st {
  std::deque<diffusion::emulator::Work> queue;
  uint64_t queued = 0;                                              // pieces of work so far,
  std::shared_ptr<uint64_t> ended = std::make_shared<uint64_t>(0);  // and those that have run: outlives the stream
  bool started = false;                                             // somebody waits
  bool finished = false;
  std::shared_ptr<diffusion::emulator::Capture> capture;
  std::thread thread;
};

struct CUevent_st {
  struct Passing {
    bool done = false;
    std::chrono::steady_clock::time_point moment;
  };
  bool timed = true, recorded = false;
  std::shared_ptr<Passing> passing = std::make_shared<Passing>(Passing{true, {}});
  cudaStream_t stream = nullptr;
  // When it was last recorded in a capture:
  std::shared_ptr<diffusion::emulator::Capture> capture;
  diffusion::emulator::Clock clock;
};
