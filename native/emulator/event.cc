// Events of the emulated runtime.
#include "emulator/state.h"

using namespace diffusion::emulator;

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st;
  (*event)->timed = (flags & cudaEventDisableTiming) == 0;
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
    event->passing = std::make_shared<CUevent_st::Passing>();
    event->recorded = true;
    event->stream = stream;
  }
  return failed(enqueue(stream, [passing = event->passing] {
    const std::lock_guard hold(lock());
    *passing = {true, std::chrono::steady_clock::now()};
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
    if (!event->passing->done) start(*event->stream);
    changed().wait(hold, [passing = event->passing] { return passing->done; });
  }
  return sticky();
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t error = allowed_while_capturing(); error != cudaSuccess) return failed(error);
  if (sticky() != cudaSuccess) return cudaErrorLaunchFailure;
  if (const cudaError_t error = refuse_captured(event->capture, cudaErrorCapturedEvent); error != cudaSuccess)
    return error;
  const std::lock_guard hold(lock());
  if (event->passing->done) return cudaSuccess;
  start(*event->stream);
  return cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  if (sticky() != cudaSuccess) return cudaErrorLaunchFailure;
  for (const cudaEvent_t event : {begin, end})
    if (const cudaError_t error = refuse_captured(event->capture, cudaErrorCapturedEvent); error != cudaSuccess)
      return error;
  const std::lock_guard hold(lock());
  if (!begin->timed || !end->timed || !begin->recorded || !end->recorded) return failed(cudaErrorInvalidResourceHandle);
  if (!begin->passing->done || !end->passing->done) return failed(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(end->passing->moment - begin->passing->moment).count();
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (sticky() != cudaSuccess) return cudaErrorLaunchFailure;
  {
    const std::lock_guard hold(lock());
    if (stream != nullptr && (stream->capture || event->capture)) return failed(wait_in_capture(*stream, *event));
  }
  return failed(enqueue(stream, [passing = event->passing, source = event->stream] {
    std::unique_lock hold(lock());
    if (!passing->done) start(*source);
    changed().wait(hold, [&] { return passing->done; });
    return std::string();
  }));
}
