// Events of the emulated runtime.
#include "emulator/state.h"

using namespace diffusion::emulator;

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (sticky() != cudaSuccess) return cudaErrorLaunchFailure;
  {
    const std::lock_guard hold(lock());
    if (stream != nullptr && stream->capture) {
      record_in_capture(*event, *stream);
      return cudaSuccess;
    }
    event->capture = nullptr;
    event->done = std::make_shared<bool>(false);
    event->stream = stream;
  }
  return failed(enqueue(stream, [done = event->done] {
    const std::lock_guard hold(lock());
    *done = true;
    changed().notify_all();
    return std::string();
  }));
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t error = allowed_while_capturing(); error != cudaSuccess) return failed(error);
  if (const cudaError_t error = refuse_captured(event->capture, cudaErrorCapturedEvent); error != cudaSuccess)
    return error;
  {
    std::unique_lock hold(lock());
    if (!*event->done) start(*event->stream);
    changed().wait(hold, [done = event->done] { return *done; });
  }
  return sticky();
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t error = allowed_while_capturing(); error != cudaSuccess) return failed(error);
  if (sticky() != cudaSuccess) return cudaErrorLaunchFailure;
  if (const cudaError_t error = refuse_captured(event->capture, cudaErrorCapturedEvent); error != cudaSuccess)
    return error;
  const std::lock_guard hold(lock());
  if (*event->done) return cudaSuccess;
  start(*event->stream);
  return cudaErrorNotReady;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (sticky() != cudaSuccess) return cudaErrorLaunchFailure;
  {
    const std::lock_guard hold(lock());
    if (stream != nullptr && (stream->capture || event->capture)) return failed(wait_in_capture(*stream, *event));
  }
  return failed(enqueue(stream, [done = event->done, source = event->stream] {
    std::unique_lock hold(lock());
    if (!*done) start(*source);
    changed().wait(hold, [&] { return *done; });
    return std::string();
  }));
}
