// Streams and copies of the emulated runtime. Each stream has an OS thread, which starts on the stream's queue
// only when somebody waits for it.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <optional>
#include <set>

#include "emulator/device_memory.h"
#include "emulator/state.h"

namespace diffusion::emulator {
namespace {

std::set<cudaStream_t>& streams() {
  static auto& all = *new std::set<cudaStream_t>;
  return all;
}

bool idle(const CUstream_st& stream) { return *stream.ended == stream.queued; }

void work(CUstream_st& stream) {
  std::unique_lock hold(lock());
  std::optional<Opened> opened;  // from the first piece of work until there is none
  for (;;) {
    changed().wait(hold, [&] { return stream.finished || (stream.started && !stream.queue.empty()); });
    if (stream.queue.empty()) return;
    if (!opened) opened.emplace();
    Work next = std::move(stream.queue.front());
    stream.queue.pop_front();
    hold.unlock();
    const std::string fault = next();
    next = nullptr;
    if (!fault.empty()) set_sticky(fault);
    hold.lock();
    ++*stream.ended;
    if (stream.queue.empty()) {
      stream.started = false;
      opened.reset();
    }
    changed().notify_all();
  }
}

// Until what these streams hold now has run. Other threads may add to them meanwhile, which need not run before
// somebody waits for it, or destroy them.
template <class Streams>
void drain(std::unique_lock<std::mutex>& hold, const Streams& waited_for) {
  std::vector<std::pair<std::shared_ptr<uint64_t>, uint64_t>> targets;
  for (CUstream_st* stream : waited_for) {
    start(*stream);
    targets.emplace_back(stream->ended, stream->queued);
  }
  changed().wait(hold, [&] {
    return std::all_of(targets.begin(), targets.end(),
                       [](const auto& target) { return *target.first >= target.second; });
  });
}

void drain(std::unique_lock<std::mutex>& hold, CUstream_st& stream) {
  drain(hold, std::initializer_list<CUstream_st*>{&stream});
}

// What runs unless a fault came before it.
Work unless_faulted(Work action) {
  return [action = std::move(action)] { return sticky() == cudaSuccess ? action() : std::string(); };
}

// The fault of a copy or fill that reaches beyond an allocation of the device, or "".
std::string beyond(const char* call, const void* address, size_t bytes) {
  if (!on_device(address) || is_allocated(address, bytes)) return "";
  char text[300];
  snprintf(text, sizeof text, "%s: %zu bytes at %p, %s", call, bytes, address, describe_address(address).c_str());
  return text;
}

// Whether `kind` says truly where the two addresses lie.
bool is_true(cudaMemcpyKind kind, const void* to, const void* from) {
  if (kind == cudaMemcpyDefault) return true;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  return on_device(to) == to_device && on_device(from) == from_device;
}

}  // namespace

void start(CUstream_st& stream) {
  if (idle(stream)) return;
  stream.started = true;
  changed().notify_all();
}

cudaError_t refuse_captured(const std::shared_ptr<Capture>& capture, cudaError_t error) {
  const std::lock_guard hold(lock());
  if (!capture) return cudaSuccess;
  capture->spoilt = true;
  return failed(error);
}

cudaError_t allowed_while_capturing() {
  const std::lock_guard hold(lock());
  for (CUstream_st* stream : streams()) {
    if (!stream->capture || stream->capture->mode == cudaStreamCaptureModeRelaxed) continue;
    const bool own = stream->capture->capturer == std::this_thread::get_id();
    if (stream->capture->mode == cudaStreamCaptureModeThreadLocal && !own) continue;
    stream->capture->spoilt = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t stream, Work work, bool start_now) {
  if (stream == nullptr) {
    if (allowed_while_capturing() != cudaSuccess) return cudaErrorStreamCaptureImplicit;
    drain_all();
    if (sticky() != cudaSuccess) return cudaErrorLaunchFailure;
    const Opened opened;
    if (const std::string fault = work(); !fault.empty()) set_sticky(fault);
    return cudaSuccess;
  }
  const std::lock_guard hold(lock());
  if (stream->capture) {
    add_to_capture(*stream, std::move(work));
    return cudaSuccess;
  }
  stream->queue.push_back(std::move(work));
  ++stream->queued;
  if (start_now) start(*stream);
  return cudaSuccess;
}

void drain_all() {
  std::unique_lock hold(lock());
  drain(hold, streams());
}

}  // namespace diffusion::emulator

using namespace diffusion::emulator;

cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t error = allowed_while_capturing(); error != cudaSuccess) return failed(error);
  drain_all();
  return sticky();
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  auto* made = new CUstream_st;
  made->thread = std::thread([made] { work(*made); });
  const std::lock_guard hold(lock());
  streams().insert(made);
  *stream = made;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  {
    std::unique_lock hold(lock());
    drain(hold, *stream);
    streams().erase(stream);
    stream->finished = true;
    changed().notify_all();
  }
  stream->thread.join();
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t error = allowed_while_capturing(); error != cudaSuccess) return failed(error);
  if (stream == nullptr) return sticky();
  if (refuse_captured(stream->capture, cudaErrorStreamCaptureUnsupported) != cudaSuccess)
    return cudaErrorStreamCaptureUnsupported;
  {
    std::unique_lock hold(lock());
    drain(hold, *stream);
  }
  return sticky();
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (const cudaError_t error = allowed_while_capturing(); error != cudaSuccess) return failed(error);
  if (sticky() != cudaSuccess) return cudaErrorLaunchFailure;
  if (stream != nullptr && refuse_captured(stream->capture, cudaErrorStreamCaptureUnsupported) != cudaSuccess)
    return cudaErrorStreamCaptureUnsupported;
  const std::lock_guard hold(lock());
  if (stream == nullptr || idle(*stream)) return cudaSuccess;
  start(*stream);
  return cudaErrorNotReady;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (sticky() != cudaSuccess) return cudaErrorLaunchFailure;
  if (bytes > 0 && !is_true(kind, to, from)) return failed(cudaErrorInvalidValue);
  return failed(enqueue(stream, unless_faulted([=] {
                          std::string fault = beyond("cudaMemcpyAsync", to, bytes);
                          if (fault.empty()) fault = beyond("cudaMemcpyAsync", from, bytes);
                          if (fault.empty()) std::memmove(to, from, bytes);
                          return fault;
                        })));
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (sticky() != cudaSuccess) return cudaErrorLaunchFailure;
  return failed(enqueue(stream, unless_faulted([=] {
                          const std::string fault = beyond("cudaMemsetAsync", to, bytes);
                          if (fault.empty()) std::memset(to, value, bytes);
                          return fault;
                        })));
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* context) {
  if (sticky() != cudaSuccess) return cudaErrorLaunchFailure;
  return failed(enqueue(stream, unless_faulted([=] {
                          function(context);
                          return std::string();
                        }),
                        true));
}
