// Programs as CUDA graphs.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/runtime/status.h"
#include "cuda/runtime/stream.h"

namespace diffusion {

struct Graph {
  struct Check {
    int32_t command;
    const char* operation;
  };

  cudaGraphExec_t executable = nullptr;
  std::vector<Check> checks;  // of indices
  char* memory = nullptr;     // on the device: what the checks report, then the data of the uploads
  size_t memory_bytes = 0;
  cuda::StatusFlag* reported = nullptr;                   // page-locked: one set of reports a replay in flight
  std::array<uint32_t, Stream::kScratchSlots> scratch{};  // generation of each slot that it uses, 0: not used

  cuda::StatusFlag* flags() const { return reinterpret_cast<cuda::StatusFlag*>(memory); }
};

namespace cuda {

// A recording under way.
struct Capture {
  struct Constant {
    char* at;
    const void* host;
    size_t bytes;
  };

  std::unique_ptr<Graph> graph;
  int32_t calls = 0;
  size_t flag_bytes = 0, filled = 0;  // of the graph's memory
  std::vector<Constant> constants;
};

// Launches of graphs: at most kInFlight at a time, so that closing does not wait for long.
class Replays {
 public:
  static constexpr uint64_t kInFlight = 8;

  explicit Replays(Stream& stream);
  ~Replays();
  Replays(const Replays&) = delete;
  Replays& operator=(const Replays&) = delete;

  uint64_t launch(Graph& graph);  // executor thread
  uint64_t launched() const { return launched_; }
  // The replays up to this one have ended: tells the engine what they reported. Any thread.
  void collect(uint64_t number);

 private:
  struct Replay {
    cudaEvent_t ended = nullptr;
    Graph* graph = nullptr;
  };
  Replay& at(uint64_t number) { return replays_[number % kInFlight]; }
  void release();
  void tell(uint64_t number);

  Stream& stream_;
  std::array<Replay, kInFlight> replays_;
  uint64_t launched_ = 0;  // executor thread
  std::mutex mutex_;
  uint64_t collected_ = 0;
};

// As in Backend; they throw.
void begin_capture(Stream& stream, size_t commands, size_t upload_bytes);
Graph* end_capture(Stream& stream, bool keep);
bool is_current(const Stream& stream, const Graph& graph);
void destroy(Stream& stream, Graph* graph);
// While capturing.
void record_upload(Stream& stream, void* device, const void* host, size_t bytes);
void record_check(Stream& stream, const char* operation);

}  // namespace cuda

}  // namespace diffusion
