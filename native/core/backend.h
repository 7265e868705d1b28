// The contract between the engine and a backend (a shared library opened at run time; C linkage, an ABI number).
// No exception crosses it: a function that can fail returns false or null and fills its Failure.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/ops/ops.h"

namespace diffusion {

inline constexpr uint32_t kAbi = 9;  // raised with any change of this file or of an operation's struct

struct Failure {
  char code[32];  // one of error.h
  char message[480];
  bool lost;  // the device is gone for good: every later call fails with the same message
};

// Called once, on any thread, in the order of submission: null when all went well.
using Done = void (*)(void* context, const Failure* failure);

// What a command of a program could see only while it ran on the device: an index out of range.
struct Report {
  int32_t command;  // how many calls of run, upload and copy came before it since begin_capture
  Failure failure;
};

struct DeviceDescription {
  char id[16];  // "cpu", "cuda:0"
  char name[128];
  char isa[32];                 // CPU: the instruction set in use
  char compute_capability[16];  // CUDA: "9.0"
  char reason[256];             // why it is not available, else ""
  int64_t memory_bytes;
  int32_t threads;
  bool available;
};

struct OpenOptions {
  int32_t ordinal;  // which device of this backend
  int32_t threads;  // 0: as many as the process may use
  // Accounts for memory that the backend takes by itself (scratch): returns false when the limit forbids it.
  bool (*account)(void* context, int64_t bytes);
  // A replay that reports has ended. Any thread, in the order of the replays, before the Done of anything behind it.
  void (*ended)(void* context, uint64_t replay, const Report* reports, int32_t count);
  void* context;
};

struct Stream;  // one open device: its state on the backend's side
struct Graph;   // a program in the backend's own form

struct Backend {
  uint32_t abi;
  const char* name;

  // Any thread.
  int32_t (*list)(DeviceDescription* devices, int32_t capacity);
  size_t (*default_memory_limit)(int32_t ordinal);
  bool (*computes_bf16)(int32_t ordinal);  // whether operations take bf16; to convert and move it is always possible

  // Executor thread, once, before anything else / after everything else.
  Stream* (*open)(const OpenOptions* options, Failure* failure);
  void (*close)(Stream* stream);

  // Address space now (JavaScript thread, microseconds), memory later (executor thread, before the first use).
  void* (*reserve)(int32_t ordinal, size_t bytes);
  bool (*map)(Stream* stream, void* address, size_t bytes, Failure* failure);
  void (*unreserve)(int32_t ordinal, void* address, size_t bytes);  // after all work that uses it has ended

  // Executor thread, in queue order. `op` points to the operation's struct of core/ops. What a function was given may
  // be used again when it returns; only the host memory of a download must last until its Done.
  bool (*run)(Stream* stream, OpId id, const void* op, Failure* failure);
  bool (*upload)(Stream* stream, void* device, const void* host, size_t bytes, Failure* failure);
  bool (*copy)(Stream* stream, void* to, const void* from, size_t bytes, Failure* failure);
  // Neither waits for the device; where work is synchronous, Done is called at once.
  void (*download)(Stream* stream, void* host, const void* device, size_t bytes, Done done, void* context);
  void (*notify)(Stream* stream, Done done, void* context);

  // Moments in the device's own time, for profiles; null where work ends within the calls that ask for it. Not while
  // a program is captured. Mark `number` (0, 1, 2, … in this order, 0 begins anew and waits for the device) is passed
  // when everything submitted before it has ended; read_marks waits for the first `count` of them, and gives their
  // moments in nanoseconds of the host's steady clock.
  bool (*mark)(Stream* stream, int32_t number, Failure* failure);
  bool (*read_marks)(Stream* stream, int64_t* moments, int32_t count, Failure* failure);

  // Programs as one piece of work; null where the engine replays the stored commands one by one. Between begin and end
  // the functions above record instead of running; `commands` and `upload_bytes` (each upload rounded up to 256) are
  // their number and what they upload. A refusal leaves the stream as it was.
  bool (*begin_capture)(Stream* stream, size_t commands, size_t upload_bytes, Failure* failure);
  Graph* (*end_capture)(Stream* stream, bool keep, Failure* failure);
  // Whether the memory that it was recorded with is still there.
  bool (*is_current)(Stream* stream, const Graph* graph);
  // `*number` counts up from 1; 0: this graph reports nothing, and `ended` is not called for it.
  bool (*replay)(Stream* stream, Graph* graph, uint64_t* number, Failure* failure);
  void (*destroy)(Stream* stream, Graph* graph);
};

using GetBackend = const Backend* (*)();
inline constexpr const char* kBackendSymbol = "diffusion_backend";

}  // namespace diffusion
