// Capture of a stream into a graph, and its launch, in the emulated runtime. A graph is the list of what was queued.
#include "emulator/state.h"

using namespace diffusion::emulator;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (stream == nullptr) return failed(cudaErrorStreamCaptureUnsupported);
  if (sticky() != cudaSuccess) return cudaErrorLaunchFailure;
  const std::lock_guard hold(lock());
  if (stream->capture) return failed(cudaErrorStreamCaptureUnsupported);
  stream->capture = std::make_unique<CUgraph_st>();
  stream->mode = mode;
  stream->capturer = std::this_thread::get_id();
  stream->spoilt = false;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  const std::lock_guard hold(lock());
  if (stream == nullptr || !stream->capture) return failed(cudaErrorStreamCaptureUnmatched);
  const std::unique_ptr<CUgraph_st> captured = std::move(stream->capture);
  if (stream->spoilt) return failed(cudaErrorStreamCaptureInvalidated);
  *graph = new CUgraph_st(*captured);
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const std::lock_guard hold(lock());
  *status = stream == nullptr || !stream->capture ? cudaStreamCaptureStatusNone
            : stream->spoilt                      ? cudaStreamCaptureStatusInvalidated
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
