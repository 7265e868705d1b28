#include "cuda/runtime/stream.h"

#include "core/error.h"
#include "cuda/runtime/stream_impl.h"

namespace diffusion {

void* Stream::Impl::allocate(const char* purpose, size_t bytes) {
  if (!account(static_cast<int64_t>(bytes)))
    fail(code::out_of_memory, "the memory limit does not leave %zu bytes for %s", bytes, purpose);
  void* data = nullptr;
  if (const cudaError_t error = cudaMalloc(&data, bytes); error != cudaSuccess) {
    account(-static_cast<int64_t>(bytes));
    cuda::check(purpose, error);
  }
  return data;
}

void* Stream::scratch(int slot, size_t bytes) {
  constexpr size_t kUnit = size_t{64} << 10;
  const auto index = static_cast<size_t>(slot);
  Impl::Block& block = impl->scratch[index];
  if (block.data == nullptr || bytes > block.bytes) {
    if (impl->capture) fail(code::device, "scratch memory cannot grow while a program is captured");
    if (block.data != nullptr) {
      cuda::check("scratch", cudaStreamSynchronize(handle));
      cuda::check("scratch", cudaFree(block.data));
      impl->account(-static_cast<int64_t>(block.bytes));
      block.data = nullptr;
    }
    const size_t rounded = (bytes + kUnit - 1) / kUnit * kUnit + (bytes == 0 ? kUnit : 0);
    block.data = impl->allocate("an operation's scratch memory", rounded);
    block.bytes = rounded;
    ++block.generation;
  }
  if (impl->capture) impl->capture->graph->scratch[index] = block.generation;
  return block.data;
}

namespace cuda {

void check(const char* operation, cudaError_t status) {
  if (status == cudaSuccess) return;
  const bool memory = status == cudaErrorMemoryAllocation;
  cudaGetLastError();  // an error that does not last is reported once
  fail(memory ? code::out_of_memory : code::device, "%s: %s: %s", operation, cudaGetErrorName(status),
       cudaGetErrorString(status));
}

void check_launch(const char* operation) { check(operation, cudaGetLastError()); }

void find_loss(const Stream& stream, Failure* failure) {
  if (stream.handle == nullptr) return;
  const cudaError_t state = cudaStreamQuery(stream.handle);
  cudaGetLastError();
  // A recording under way refuses the question, and ends with it.
  if (state == cudaSuccess || state == cudaErrorNotReady || state == cudaErrorStreamCaptureUnsupported ||
      state == cudaErrorStreamCaptureInvalidated)
    return;
  set_lost(stream.ordinal, failure->message);
  is_lost(stream.ordinal, failure);
}

StatusFlag* status(Stream& stream) {
  const Stream::Impl& impl = *stream.impl;
  return impl.capture ? impl.capture->graph->flags() + impl.capture->graph->checks.size() - 1 : impl.status;
}

unsigned* arrivals(Stream& stream) { return stream.impl->arrivals; }

void clear_status(Stream& stream) {
  check("status", cudaMemsetAsync(stream.impl->status, 0, sizeof(StatusFlag), stream.handle));
}

void check_report(const StatusFlag& report, const char* operation) {
  switch (report.kind) {
    case kNoIndexError:
      return;
    case kEmbeddingId:
      fail(code::option, "%s: id %lld is outside [-1, %lld)", operation, static_cast<long long>(report.value),
           static_cast<long long>(report.bound));
    case kTimestep:
      fail(code::option, "%s: t = %lld is outside the schedule of %lld steps", operation,
           static_cast<long long>(report.value), static_cast<long long>(report.bound));
    default:
      fail(code::device, "%s: a kernel reported %d, which means nothing", operation, report.kind);
  }
}

void check_status(Stream& stream, const char* operation) {
  StatusFlag* reported = stream.impl->reported;
  check(operation,
        cudaMemcpyAsync(reported, stream.impl->status, sizeof *reported, cudaMemcpyDeviceToHost, stream.handle));
  check(operation, cudaStreamSynchronize(stream.handle));
  check_report(*reported, operation);
}

Stream* open_stream(const OpenOptions& options) {
  auto stream = std::make_unique<Stream>();
  auto owned = std::make_unique<Stream::Impl>();
  Stream::Impl& impl = *owned;
  impl.options = options;
  stream->ordinal = options.ordinal;
  stream->impl = owned.release();
  try {
    check("open", cudaSetDevice(options.ordinal));
    check("open", cudaStreamCreateWithFlags(&stream->handle, cudaStreamNonBlocking));
    check("open", cudaMalloc(&impl.status, sizeof *impl.status));
    check("open", cudaHostAlloc(reinterpret_cast<void**>(&impl.reported), sizeof *impl.reported, cudaHostAllocDefault));
    check("open", cudaMalloc(&impl.arrivals, sizeof *impl.arrivals));
    check("open", cudaMemsetAsync(impl.arrivals, 0, sizeof *impl.arrivals, stream->handle));
    impl.staging = std::make_unique<Staging>(stream->handle);
    impl.replays = std::make_unique<Replays>(*stream);
    impl.completer = std::make_unique<Completer>(*stream);
  } catch (...) {
    close_stream(stream.release());
    throw;
  }
  return stream.release();
}

void close_stream(Stream* stream) {
  Stream::Impl* impl = stream->impl;
  impl->completer.reset();  // tells of everything that was submitted
  if (stream->handle != nullptr) cudaStreamSynchronize(stream->handle);
  impl->replays.reset();
  impl->staging.reset();
  for (Stream::Impl::Block& block : impl->scratch) {
    if (block.data == nullptr) continue;
    cudaFree(block.data);
    impl->account(-static_cast<int64_t>(block.bytes));
  }
  if (impl->status != nullptr) cudaFree(impl->status);
  if (impl->reported != nullptr) cudaFreeHost(impl->reported);
  if (impl->arrivals != nullptr) cudaFree(impl->arrivals);
  if (stream->handle != nullptr) cudaStreamDestroy(stream->handle);
  cudaGetLastError();
  delete impl;
  delete stream;
}

}  // namespace cuda

}  // namespace diffusion
