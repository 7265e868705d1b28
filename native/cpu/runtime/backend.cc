// The CPU backend's side of core/backend.h: every function of the contract, and the choice of the instruction set.
#include "core/backend.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "core/guard.h"
#include "core/operation.h"
#include "cpu/runtime/machine.h"
#include "cpu/runtime/primitives.h"
#include "cpu/runtime/stream.h"
#if defined(__x86_64__)
#define DIFFUSION_ISA v2
#else
#define DIFFUSION_ISA native_isa
#endif
#include "cpu/ops.h"

namespace diffusion::cpu {

#if defined(__x86_64__)
namespace v3 {
extern const OpTable table;
}
namespace v4 {
extern const OpTable table;
}
#endif

namespace {

// One level of the instruction set for everything: that of the operations and that of oneDNN.
bool takes_bf16(int32_t) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("x86-64-v4") && computes_bf16();
#else
  return false;
#endif
}

const OpTable& best_table() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("x86-64-v4")) return v4::table;
  if (__builtin_cpu_supports("x86-64-v3")) return v3::table;
#endif
  return DIFFUSION_ISA::table;
}

int32_t list(DeviceDescription* devices, int32_t capacity) {
  if (capacity < 1) return 0;
  Failure failure;
  DeviceDescription& device = devices[0];
  device = {};
  snprintf(device.id, sizeof device.id, "cpu");
  device.available = guarded(&failure, [&] {
    const Machine here = machine();
    snprintf(device.name, sizeof device.name, "%s", here.name.c_str());
    snprintf(device.isa, sizeof device.isa, "%s", here.isa);
    device.memory_bytes = here.memory_bytes;
    device.threads = here.threads;
  });
  if (!device.available) snprintf(device.reason, sizeof device.reason, "%.255s", failure.message);
  return 1;
}

size_t default_memory_limit(int32_t) {
  Failure failure;
  size_t limit = 0;
  guarded(&failure, [&] { limit = static_cast<size_t>(static_cast<double>(machine().available_bytes) * 0.9); });
  return limit;
}

Stream* open(const OpenOptions* options, Failure* failure) {
  Stream* stream = nullptr;
  guarded(failure, [&] {
    const int32_t usable = machine().threads, most = std::max(usable, 256);
    if (options->ordinal != 0) fail(code::device, "cpu: there is no device cpu:%d", options->ordinal);
    if (options->threads < 0 || options->threads > most)
      fail(code::option, "cpu: threads must be between 1 and %d, got %d", most, options->threads);
    OpenOptions resolved = *options;
    if (resolved.threads == 0) resolved.threads = usable;
    omp_set_dynamic(0);
    omp_set_num_threads(resolved.threads);
    stream = new Stream(resolved);
  });
  return stream;
}

void close(Stream* stream) { delete stream; }

constexpr size_t kPage = 4096, kHugePage = size_t{2} << 20;

size_t whole_pages(size_t bytes) { return (std::max<size_t>(bytes, 1) + kPage - 1) / kPage * kPage; }

// The kernel gives memory at the first touch, so that reserving costs microseconds and nothing remains to be mapped.
void* reserve(int32_t, size_t bytes) {
  const size_t size = whole_pages(bytes), slack = size >= kHugePage ? kHugePage : 0;
  void* mapped =
      mmap(nullptr, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  if (slack == 0) return mapped;
  auto* start = static_cast<char*>(mapped);
  const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(start) % kHugePage) % kHugePage;
  if (before > 0) munmap(start, before);
  if (slack > before) munmap(start + before + size, slack - before);
  madvise(start + before, size, MADV_HUGEPAGE);  // advice: a refusal is no failure
  return start + before;
}

bool map(Stream* stream, void* address, size_t bytes, Failure*) {
  stream->primitives->written(address, bytes);
  return true;
}

void unreserve(int32_t, void* address, size_t bytes) { munmap(address, whole_pages(bytes)); }

// Announces what an operation will write to those who keep copies of it.
template <class Op>
void announce_writes(Stream& stream, const Op& op) {
  const auto announce = [&](auto member) {
    using Operand = typename MemberOf<decltype(member)>::Type;
    if constexpr (kWrites<Operand> || kIsState<Operand>)
      if (op.*member) stream.primitives->written((op.*member).data, static_cast<size_t>((op.*member).bytes()));
  };
  std::apply([&](auto... members) { (announce(members), ...); }, Op::fields);
}

template <class Op>
void execute(Stream& stream, void (*function)(Stream&, const Op&), const void* op) {
  announce_writes(stream, *static_cast<const Op*>(op));
  function(stream, *static_cast<const Op*>(op));
}

bool run(Stream* stream, OpId id, const void* op, Failure* failure) {
  static const OpTable& table = best_table();
  return guarded(failure, [&] {
    switch (id) {
#define X(Op, function) \
  case OpId::Op:        \
    return execute<Op>(*stream, table.function, op);
      DIFFUSION_OPS(X)
#undef X
      case OpId::count:
        break;
    }
    fail(code::device, "cpu: there is no operation %d", static_cast<int>(id));
  });
}

bool copy(Stream* stream, void* to, const void* from, size_t bytes, Failure*) {
  stream->primitives->written(to, bytes);
  std::memcpy(to, from, bytes);
  return true;
}

void download(Stream*, void* host, const void* device, size_t bytes, Done done, void* context) {
  std::memcpy(host, device, bytes);
  done(context, nullptr);
}

void notify(Stream*, Done done, void* context) { done(context, nullptr); }

const Backend backend = {
    .abi = kAbi,
    .name = "cpu",
    .list = list,
    .default_memory_limit = default_memory_limit,
    .computes_bf16 = takes_bf16,
    .open = open,
    .close = close,
    .reserve = reserve,
    .map = map,
    .unreserve = unreserve,
    .run = run,
    .upload = copy,
    .copy = copy,
    .download = download,
    .notify = notify,
    .mark = nullptr,
    .read_marks = nullptr,
    .begin_capture = nullptr,
    .end_capture = nullptr,
    .is_current = nullptr,
    .replay = nullptr,
    .destroy = nullptr,
};

}  // namespace
}  // namespace diffusion::cpu

extern "C" __attribute__((visibility("default"))) const diffusion::Backend* diffusion_backend() {
  return &diffusion::cpu::backend;
}
