// A backend for tests: the emulator, with its calls counted and some of them failing. The number of the device says
// which fail, and the name of the device gives the counts.
#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <string>

#include "core/backend.h"

namespace {

using namespace diffusion;

enum Plan : int32_t {
  kSound,
  kNoCapture,      // every capture is refused
  kSecondReplay,   // fails
  kSecondMap,      // finds no memory at the first two attempts
  kThirdSilu,      // writes where there is no memory
  kFirstRecorded,  // the first operation of the first capture is refused
  kPlans,
};

std::atomic<int> plan, runs, captures, replays, destroyed, maps, silus;
std::atomic<bool> capturing;

const Backend& emulator() {
  static const Backend& backend = [&]() -> const Backend& {
    Dl_info here{};
    dladdr(reinterpret_cast<const void*>(&emulator), &here);
    std::string path(here.dli_fname);
    path = path.substr(0, path.rfind('/') + 1) + "libdiffusion_emulator.so";
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    return *reinterpret_cast<GetBackend>(dlsym(library, kBackendSymbol))();
  }();
  return backend;
}

bool refuse(Failure* failure, const char* code, const char* message) {
  *failure = {};
  snprintf(failure->code, sizeof failure->code, "%s", code);
  snprintf(failure->message, sizeof failure->message, "%s", message);
  return false;
}

int32_t list(DeviceDescription* devices, int32_t capacity) {
  const int32_t count = capacity < kPlans ? capacity : kPlans;
  for (int32_t i = 0; i < count; ++i) {
    emulator().list(&devices[i], 1);
    snprintf(devices[i].name, sizeof devices[i].name, "run %d, capture %d, replay %d, destroy %d", runs.load(),
             captures.load(), replays.load(), destroyed.load());
  }
  return count;
}

Stream* open(const OpenOptions* options, Failure* failure) {
  OpenOptions first = *options;
  plan = first.ordinal;
  first.ordinal = 0;
  for (auto* counter : {&runs, &captures, &replays, &destroyed, &maps, &silus}) *counter = 0;
  return emulator().open(&first, failure);
}

bool map(Stream* stream, void* address, size_t bytes, Failure* failure) {
  const int number = ++maps;
  if (plan == kSecondMap && (number == 2 || number == 3))
    return refuse(failure, "ERR_OUT_OF_MEMORY", "map: there is no memory for this test");
  return emulator().map(stream, address, bytes, failure);
}

// Operations that are recorded do not count.
bool run(Stream* stream, OpId id, const void* op, Failure* failure) {
  if (!capturing) ++runs;
  if (capturing && plan == kFirstRecorded && captures == 1) return refuse(failure, "ERR_DEVICE", "not in a graph");
  if (id != OpId::Silu || plan != kThirdSilu || ++silus != 3) return emulator().run(stream, id, op, failure);
  Silu wild = *static_cast<const Silu*>(op);
  wild.y.data = reinterpret_cast<void*>(uintptr_t{1} << 46);
  return emulator().run(stream, id, &wild, failure);
}

bool begin_capture(Stream* stream, size_t commands, size_t upload_bytes, Failure* failure) {
  ++captures;
  if (plan == kNoCapture) return refuse(failure, "ERR_DEVICE", "capture: refused for this test");
  const bool begun = emulator().begin_capture(stream, commands, upload_bytes, failure);
  capturing = begun;
  return begun;
}

Graph* end_capture(Stream* stream, bool keep, Failure* failure) {
  capturing = false;
  return emulator().end_capture(stream, keep, failure);
}

bool replay(Stream* stream, Graph* graph, uint64_t* number, Failure* failure) {
  if (++replays == 2 && plan == kSecondReplay) return refuse(failure, "ERR_DEVICE", "replay: refused for this test");
  return emulator().replay(stream, graph, number, failure);
}

void destroy(Stream* stream, Graph* graph) {
  ++destroyed;
  emulator().destroy(stream, graph);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const Backend* diffusion_backend() {
  static const Backend counted = [] {
    Backend backend = emulator();
    backend.name = "counted";
    backend.list = list;
    backend.default_memory_limit = [](int32_t) { return emulator().default_memory_limit(0); };
    backend.computes_bf16 = [](int32_t) { return emulator().computes_bf16(0); };
    backend.open = open;
    backend.reserve = [](int32_t, size_t bytes) { return emulator().reserve(0, bytes); };
    backend.unreserve = [](int32_t, void* address, size_t bytes) { emulator().unreserve(0, address, bytes); };
    backend.map = map;
    backend.run = run;
    backend.begin_capture = begin_capture;
    backend.end_capture = end_capture;
    backend.replay = replay;
    backend.destroy = destroy;
    return backend;
  }();
  return &counted;
}
