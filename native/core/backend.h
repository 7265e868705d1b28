// The contract between the engine and a backend (a shared library opened at run time; C linkage, an ABI number).
// No exception crosses it: a function that can fail returns false or null and fills its Failure.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/ops/ops.h"

namespace diffusion {

inline constexpr uint32_t kAbi = 2;  // raised with any change of this file or of an operation's struct

struct Failure {
  char code[32];  // one of error.h
  char message[480];
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

  // Executor thread, in queue order. `op` points to the operation's struct of core/ops.
  bool (*run)(Stream* stream, OpId id, const void* op, Failure* failure);
  bool (*upload)(Stream* stream, void* device, const void* host, size_t bytes, Failure* failure);
  bool (*download)(Stream* stream, void* host, const void* device, size_t bytes, Failure* failure);
  bool (*copy)(Stream* stream, void* to, const void* from, size_t bytes, Failure* failure);
  // Calls done(context) once everything submitted before has ended; at once where work is synchronous.
  void (*notify)(Stream* stream, void (*done)(void*), void* context);

  // Programs; null where the engine replays the stored commands one by one.
  bool (*begin_capture)(Stream* stream, Failure* failure);
  Graph* (*end_capture)(Stream* stream, Failure* failure);
  bool (*replay)(Stream* stream, Graph* graph, Failure* failure);
  void (*destroy)(Stream* stream, Graph* graph);
};

using GetBackend = const Backend* (*)();
inline constexpr const char* kBackendSymbol = "diffusion_backend";

}  // namespace diffusion
