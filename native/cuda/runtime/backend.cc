// The CUDA backend's side of core/backend.h. Operations are submitted to the stream and run later: what fails on the
// device for good is reported by the next call that meets it, and by every later one.
#include "core/backend.h"

#include "cuda/ops.h"
#include "cuda/runtime/memory.h"
#include "cuda/runtime/operands.h"
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
  return attempt(*stream, failure, [&] { map_memory(stream->ordinal, address, bytes); });
}

void unreserve(int32_t ordinal, void* address, size_t bytes) {
  Failure failure;
  guarded(&failure, [&] { unreserve_address(ordinal, address, bytes); });
}

// Operations that read indices from device memory. By themselves, the stream is waited for after them, to say which
// index was wrong; in a graph each has a report of its own, which is read when the replay has ended.
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
template <>
inline constexpr bool kChecksIndices<Threshold> = true;
template <>
inline constexpr bool kChecksIndices<RecordLosses> = true;
template <>
inline constexpr bool kChecksIndices<ModelVariance> = true;
template <>
inline constexpr bool kChecksIndices<VariationalBound> = true;
template <>
inline constexpr bool kChecksIndices<VariationalBoundBackward> = true;

template <class Op>
void run_one(Stream& stream, void (*function)(Stream&, const Op&), const Op& op) {
  [[maybe_unused]] const auto use = using_operands(stream, op);
  if constexpr (!kChecksIndices<Op>) return function(stream, op);
  if (stream.impl->capture) {
    record_check(stream, Op::name);
    return function(stream, op);
  }
  clear_status(stream);
  function(stream, op);
  check_status(stream, Op::name);
}

// One call of run, upload or copy.
template <class F>
bool command(Stream* stream, Failure* failure, const F& f) {
  const bool done = attempt(*stream, failure, f);
  if (stream->impl->capture) ++stream->impl->capture->calls;
  return done;
}

bool run(Stream* stream, OpId id, const void* op, Failure* failure) {
  return command(stream, failure, [&] {
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
  return command(stream, failure, [&] {
    if (stream->impl->capture) return record_upload(*stream, device, host, bytes);
    stream->impl->staging->upload(device, host, bytes);
  });
}

bool copy(Stream* stream, void* to, const void* from, size_t bytes, Failure* failure) {
  return command(stream, failure,
                 [&] { check("copy", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream->handle)); });
}

void download(Stream* stream, void* host, const void* device, size_t bytes, Done done, void* context) {
  stream->impl->completer->download(host, device, bytes, done, context);
}

void notify(Stream* stream, Done done, void* context) { stream->impl->completer->notify(done, context); }

bool mark(Stream* stream, int32_t number, Failure* failure) {
  return attempt(*stream, failure, [&] { stream->impl->marks.put(*stream, number); });
}

bool read_marks(Stream* stream, int64_t* moments, int32_t count, Failure* failure) {
  return attempt(*stream, failure, [&] { stream->impl->marks.read(moments, count); });
}

bool begin_capture(Stream* stream, size_t commands, size_t upload_bytes, Failure* failure) {
  return attempt(*stream, failure, [&] { cuda::begin_capture(*stream, commands, upload_bytes); });
}

Graph* end_capture(Stream* stream, bool keep, Failure* failure) {
  Graph* graph = nullptr;  // ended on a lost device, too
  if (!guarded(failure, [&] { graph = cuda::end_capture(*stream, keep); })) find_loss(*stream, failure);
  return graph;
}

bool is_current(Stream* stream, const Graph* graph) { return cuda::is_current(*stream, *graph); }

bool replay(Stream* stream, Graph* graph, uint64_t* number, Failure* failure) {
  return attempt(*stream, failure, [&] { *number = stream->impl->replays->launch(*graph); });
}

void destroy(Stream* stream, Graph* graph) { cuda::destroy(*stream, graph); }

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
    .copy = copy,
    .download = download,
    .notify = notify,
    .mark = mark,
    .read_marks = read_marks,
    .begin_capture = begin_capture,
    .end_capture = end_capture,
    .is_current = is_current,
    .replay = replay,
    .destroy = destroy,
};

}  // namespace
}  // namespace diffusion::cuda

extern "C" __attribute__((visibility("default"))) const diffusion::Backend* diffusion_backend() {
  return &diffusion::cuda::backend;
}
