#include "cuda/runtime/stream.h"

#include "core/error.h"
#include "cuda/runtime/stream_impl.h"

namespace diffusion {

void* Stream::scratch(int slot, size_t bytes) {
  constexpr size_t kUnit = size_t{64} << 10;
  Impl::Block& block = impl->scratch[static_cast<size_t>(slot)];
  if (block.data != nullptr && bytes <= block.bytes) return block.data;

  const OpenOptions& options = impl->options;
  const auto account = [&](int64_t change) {
    return options.account == nullptr || options.account(options.context, change);
  };
  if (block.data != nullptr) {
    cuda::check("scratch", cudaStreamSynchronize(handle));
    cuda::check("scratch", cudaFree(block.data));
    account(-static_cast<int64_t>(block.bytes));
    block = {};
  }
  const size_t rounded = (bytes + kUnit - 1) / kUnit * kUnit + (bytes == 0 ? kUnit : 0);
  if (!account(static_cast<int64_t>(rounded)))
    fail(code::out_of_memory, "the memory limit does not leave %zu bytes for an operation's scratch memory", rounded);
  if (const cudaError_t error = cudaMalloc(&block.data, rounded); error != cudaSuccess) {
    block = {};
    account(-static_cast<int64_t>(rounded));
    cuda::check("scratch", error);
  }
  block.bytes = rounded;
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

StatusFlag* status(Stream& stream) { return stream.impl->status; }

unsigned* arrivals(Stream& stream) { return stream.impl->arrivals; }

void clear_status(Stream& stream) {
  check("status", cudaMemsetAsync(stream.impl->status, 0, sizeof(StatusFlag), stream.handle));
}

void check_status(Stream& stream, const char* operation) {
  StatusFlag report{};
  stream.impl->staging->download(&report, stream.impl->status, sizeof report);
  switch (report.kind) {
    case kNoIndexError:
      return;
    case kEmbeddingId:
      fail(code::option, "%s: id %lld is outside [0, %lld)", operation, static_cast<long long>(report.value),
           static_cast<long long>(report.bound));
    case kTimestep:
      fail(code::option, "%s: t = %lld is outside the schedule of %lld steps", operation,
           static_cast<long long>(report.value), static_cast<long long>(report.bound));
    default:
      fail(code::device, "%s: a kernel reported %d, which means nothing", operation, report.kind);
  }
}

Stream* open_stream(const OpenOptions& options) {
  auto stream = std::make_unique<Stream>();
  auto impl = std::make_unique<Stream::Impl>();
  impl->options = options;
  stream->ordinal = options.ordinal;
  stream->impl = impl.get();
  try {
    check("open", cudaSetDevice(options.ordinal));
    check("open", cudaStreamCreateWithFlags(&stream->handle, cudaStreamNonBlocking));
    check("open", cudaMalloc(&impl->status, sizeof(StatusFlag)));
    clear_status(*stream);
    check("open", cudaMalloc(&impl->arrivals, sizeof *impl->arrivals));
    check("open", cudaMemsetAsync(impl->arrivals, 0, sizeof *impl->arrivals, stream->handle));
    impl->staging = std::make_unique<Staging>("open", stream->handle);
  } catch (...) {
    impl.release();
    close_stream(stream.release());
    throw;
  }
  impl.release();
  return stream.release();
}

void close_stream(Stream* stream) {
  Stream::Impl* impl = stream->impl;
  if (stream->handle != nullptr) cudaStreamSynchronize(stream->handle);
  impl->staging.reset();
  for (Stream::Impl::Block& block : impl->scratch) {
    if (block.data == nullptr) continue;
    cudaFree(block.data);
    if (impl->options.account != nullptr)
      impl->options.account(impl->options.context, -static_cast<int64_t>(block.bytes));
  }
  if (impl->status != nullptr) cudaFree(impl->status);
  if (impl->arrivals != nullptr) cudaFree(impl->arrivals);
  if (stream->handle != nullptr) cudaStreamDestroy(stream->handle);
  delete impl;
  delete stream;
}

}  // namespace cuda

}  // namespace diffusion
