// The CUDA backend's side of core/backend.h. Operations are submitted to the stream and run later: what fails on the
// device is reported by the next call that waits, and by every later one.
#include "core/backend.h"

#include "core/guard.h"
#include "cuda/ops.h"
#include "cuda/runtime/devices.h"
#include "cuda/runtime/memory.h"
#include "cuda/runtime/stream_impl.h"

namespace diffusion::cuda {
namespace {

size_t default_memory_limit(int32_t ordinal) {
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, ordinal) != cudaSuccess) return 0;
  return static_cast<size_t>(static_cast<double>(properties.totalGlobalMem) * 0.9);
}

Stream* open(const OpenOptions* options, Failure* failure) {
  Stream* stream = nullptr;
  guarded(failure, [&] { stream = open_stream(*options); });
  return stream;
}

void* reserve(int32_t ordinal, size_t bytes) {
  void* address = nullptr;
  Failure failure;
  guarded(&failure, [&] { address = reserve_address(ordinal, bytes); });
  return address;
}

bool map(Stream* stream, void* address, size_t bytes, Failure* failure) {
  return guarded(failure, [&] { map_memory(stream->ordinal, address, bytes); });
}

void unreserve(int32_t ordinal, void* address, size_t bytes) {
  Failure failure;
  guarded(&failure, [&] { unreserve_address(ordinal, address, bytes); });
}

// Operations that read indices from device memory. The stream is waited for after them, to say which index was wrong.
template <class Op>
inline constexpr bool kChecksIndices = false;
template <>
inline constexpr bool kChecksIndices<Embedding> = true;
template <>
inline constexpr bool kChecksIndices<EmbeddingBackward> = true;
template <>
inline constexpr bool kChecksIndices<Noising> = true;
template <>
inline constexpr bool kChecksIndices<Blend> = true;
template <>
inline constexpr bool kChecksIndices<Gather> = true;
template <>
inline constexpr bool kChecksIndices<ReverseStep> = true;

template <class Op>
void run_one(Stream& stream, void (*function)(Stream&, const Op&), const Op& op) {
  if constexpr (kChecksIndices<Op>) {
    clear_status(stream);
    function(stream, op);
    check_status(stream, Op::name);
  } else {
    function(stream, op);
  }
}

bool run(Stream* stream, OpId id, const void* op, Failure* failure) {
  return guarded(failure, [&] {
    switch (id) {
#define X(Op, function) \
  case OpId::Op:        \
    return run_one(*stream, table.function, *static_cast<const Op*>(op));
      DIFFUSION_OPS(X)
#undef X
      case OpId::count:
        break;
    }
    fail(code::device, "%s: there is no operation %d", kName, static_cast<int>(id));
  });
}

bool upload(Stream* stream, void* device, const void* host, size_t bytes, Failure* failure) {
  return guarded(failure, [&] { stream->impl->staging->upload(device, host, bytes); });
}

bool download(Stream* stream, void* host, const void* device, size_t bytes, Failure* failure) {
  return guarded(failure, [&] { stream->impl->staging->download(host, device, bytes); });
}

bool copy(Stream* stream, void* to, const void* from, size_t bytes, Failure* failure) {
  return guarded(failure,
                 [&] { check("copy", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream->handle)); });
}

// A host function would not be called after a failure, and a promise would then never settle: so this waits.
void notify(Stream* stream, void (*done)(void*), void* context) {
  cudaStreamSynchronize(stream->handle);
  done(context);
}

// Programs are replayed command by command: no capture yet.
const Backend backend = {
    .abi = kAbi,
    .name = kName,
    .list = list_devices,
    .default_memory_limit = default_memory_limit,
    .computes_bf16 = [](int32_t) { return true; },  // every supported architecture does
    .open = open,
    .close = close_stream,
    .reserve = reserve,
    .map = map,
    .unreserve = unreserve,
    .run = run,
    .upload = upload,
    .download = download,
    .copy = copy,
    .notify = notify,
    .begin_capture = nullptr,
    .end_capture = nullptr,
    .replay = nullptr,
    .destroy = nullptr,
};

}  // namespace
}  // namespace diffusion::cuda

extern "C" __attribute__((visibility("default"))) const diffusion::Backend* diffusion_backend() {
  return &diffusion::cuda::backend;
}
