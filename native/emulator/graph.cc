// Capture of streams into a graph, and its launch, in the emulated runtime.
#include <algorithm>

#include "emulator/state.h"

namespace diffusion::emulator {

void add_to_capture(CUstream_st& stream, Work work) {
  stream.capture->graph.nodes.push_back(std::move(work));
  ++stream.capture->members[&stream][&stream];
}

void record_in_capture(CUevent_st& event, CUstream_st& stream) {
  event.capture = stream.capture;
  event.clock = stream.capture->members[&stream];
}

// A stream that waits for an event of a capture becomes part of it.
cudaError_t wait_in_capture(CUstream_st& stream, const CUevent_st& event) {
  if (!event.capture || (stream.capture && stream.capture != event.capture)) {
    for (const auto& capture : {stream.capture, event.capture})
      if (capture) capture->spoilt = true;
    return cudaErrorStreamCaptureIsolation;
  }
  if (event.capture->origin->capture != event.capture) return cudaErrorCapturedEvent;  // it has ended
  stream.capture = event.capture;
  Clock& clock = stream.capture->members[&stream];
  for (const auto& [one, count] : event.clock) clock[one] = std::max(clock[one], count);
  return cudaSuccess;
}

}  // namespace diffusion::emulator

using namespace diffusion::emulator;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (stream == nullptr) return failed(cudaErrorStreamCaptureUnsupported);
  if (sticky() != cudaSuccess) return cudaErrorLaunchFailure;
  const std::lock_guard hold(lock());
  if (stream->capture) return failed(cudaErrorStreamCaptureUnsupported);
  stream->capture = std::make_shared<Capture>();
  stream->capture->origin = stream;
  stream->capture->mode = mode;
  stream->capture->capturer = std::this_thread::get_id();
  stream->capture->members[stream];
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  const std::lock_guard hold(lock());
  if (stream == nullptr || !stream->capture || stream->capture->origin != stream)
    return failed(cudaErrorStreamCaptureUnmatched);
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture->mode != cudaStreamCaptureModeRelaxed && capture->capturer != std::this_thread::get_id()) {
    capture->spoilt = true;
    return failed(cudaErrorStreamCaptureWrongThread);
  }
  bool joined = true;
  for (auto& [member, clock] : capture->members) {
    joined &= capture->members[stream][member] == clock[member];
    member->capture = nullptr;
  }
  if (capture->spoilt) return failed(cudaErrorStreamCaptureInvalidated);
  if (!joined) return failed(cudaErrorStreamCaptureUnjoined);
  *graph = new CUgraph_st(std::move(capture->graph));
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const std::lock_guard hold(lock());
  *status = stream == nullptr || !stream->capture ? cudaStreamCaptureStatusNone
            : stream->capture->spoilt             ? cudaStreamCaptureStatusInvalidated
                                                  : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{graph->nodes};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (sticky() != cudaSuccess) return cudaErrorLaunchFailure;
  for (const Work& node : executable->nodes)
    if (const cudaError_t error = enqueue(stream, node); error != cudaSuccess) return failed(error);
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
