#include "cuda/runtime/graph.h"

#include <algorithm>

#include "core/guard.h"
#include "core/pool.h"
#include "cuda/runtime/stream_impl.h"

namespace diffusion::cuda {

namespace {

void release(Stream& stream, Graph* graph) {
  const std::unique_ptr<Graph> owned(graph);
  if (graph->executable != nullptr) cudaGraphExecDestroy(graph->executable);
  if (graph->reported != nullptr) cudaFreeHost(graph->reported);
  if (graph->memory == nullptr) return;
  cudaFree(graph->memory);
  stream.impl->account(-static_cast<int64_t>(graph->memory_bytes));
}

}  // namespace

void begin_capture(Stream& stream, size_t commands, size_t upload_bytes) {
  auto capture = std::make_unique<Capture>();
  capture->graph = std::make_unique<Graph>();
  capture->flag_bytes = commands * sizeof(StatusFlag);
  capture->filled = Pool::rounded(capture->flag_bytes);
  const size_t bytes = capture->filled + upload_bytes;
  capture->graph->memory = static_cast<char*>(stream.impl->allocate("a program's constants", bytes));
  capture->graph->memory_bytes = bytes;
  try {
    check("capture", cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeThreadLocal));
  } catch (...) {
    release(stream, capture->graph.release());
    throw;
  }
  stream.impl->capture = std::move(capture);
}

Graph* end_capture(Stream& stream, bool keep) {
  const auto capture = std::move(stream.impl->capture);
  Graph* graph = capture->graph.release();
  cudaGraph_t captured = nullptr;
  try {
    check("capture", cudaStreamEndCapture(stream.handle, &captured));
    if (!keep) fail(code::device, "capture: given up");
    check("capture", cudaGraphInstantiate(&graph->executable, captured, 0));
    if (!graph->checks.empty())
      check("capture",
            cudaHostAlloc(reinterpret_cast<void**>(&graph->reported),
                          Replays::kInFlight * graph->checks.size() * sizeof(StatusFlag), cudaHostAllocDefault));
    for (const Capture::Constant& constant : capture->constants)
      stream.impl->staging->upload(constant.at, constant.host, constant.bytes);
  } catch (...) {
    if (captured != nullptr) cudaGraphDestroy(captured);
    release(stream, graph);
    throw;
  }
  cudaGraphDestroy(captured);
  return graph;
}

bool is_current(const Stream& stream, const Graph& graph) {
  const auto& scratch = stream.impl->scratch;
  for (size_t i = 0; i < scratch.size(); ++i)
    if (graph.scratch[i] != 0 && graph.scratch[i] != scratch[i].generation) return false;
  return true;
}

void destroy(Stream& stream, Graph* graph) {
  if (cudaStreamSynchronize(stream.handle) == cudaSuccess)
    stream.impl->replays->collect(stream.impl->replays->launched());
  release(stream, graph);
}

// The data is copied to the graph's own memory once the recording has ended: a replay copies it from there.
void record_upload(Stream& stream, void* device, const void* host, size_t bytes) {
  Capture& capture = *stream.impl->capture;
  char* own = capture.graph->memory + capture.filled;
  capture.filled += Pool::rounded(bytes);
  if (capture.filled > capture.graph->memory_bytes) fail(code::device, "capture: more uploads than announced");
  capture.constants.push_back({own, host, bytes});
  check("upload", cudaMemcpyAsync(device, own, bytes, cudaMemcpyDeviceToDevice, stream.handle));
}

// All reports are cleared where the first may be made.
void record_check(Stream& stream, const char* operation) {
  Capture& capture = *stream.impl->capture;
  Graph& graph = *capture.graph;
  if (graph.checks.empty()) check(operation, cudaMemsetAsync(graph.memory, 0, capture.flag_bytes, stream.handle));
  graph.checks.push_back({capture.calls, operation});
}

Replays::Replays(Stream& stream) : stream_(stream) {
  try {
    for (Replay& replay : replays_)
      check("open", cudaEventCreateWithFlags(&replay.ended, cudaEventDisableTiming | cudaEventBlockingSync));
  } catch (...) {
    release();
    throw;
  }
}

Replays::~Replays() { release(); }

void Replays::release() {
  for (const Replay& replay : replays_)
    if (replay.ended != nullptr) cudaEventDestroy(replay.ended);
}

uint64_t Replays::launch(Graph& graph) {
  const uint64_t number = launched_ + 1;
  Replay& replay = at(number);
  check("program", cudaEventSynchronize(replay.ended));
  if (number > kInFlight) collect(number - kInFlight);
  check("program", cudaGraphLaunch(graph.executable, stream_.handle));
  const size_t count = graph.checks.size();
  if (count > 0)
    check("program", cudaMemcpyAsync(graph.reported + number % kInFlight * count, graph.memory,
                                     count * sizeof(StatusFlag), cudaMemcpyDeviceToHost, stream_.handle));
  check("program", cudaEventRecord(replay.ended, stream_.handle));
  replay.graph = &graph;
  launched_ = number;
  return count > 0 ? number : 0;
}

void Replays::collect(uint64_t number) {
  const std::lock_guard lock(mutex_);
  while (collected_ < number) tell(++collected_);
}

void Replays::tell(uint64_t number) {
  const Graph& graph = *at(number).graph;
  const size_t count = graph.checks.size();
  if (count == 0) return;
  const StatusFlag* reported = graph.reported + number % kInFlight * count;
  std::vector<Report> reports;
  for (size_t i = 0; i < count; ++i) {
    Report report{graph.checks[i].command, {}};
    if (!guarded(&report.failure, [&] { check_report(reported[i], graph.checks[i].operation); }))
      reports.push_back(report);
  }
  const OpenOptions& options = stream_.impl->options;
  options.ended(options.context, number, reports.data(), static_cast<int32_t>(reports.size()));
}

}  // namespace diffusion::cuda
