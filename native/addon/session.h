// What one JavaScript environment (the main thread or a worker) holds: devices, tensor handles, programs, and the way
// back for finished tickets. There are no globals, so that workers do not see each other.
#pragma once

#include <node_api.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "core/device.h"

namespace diffusion {

// A tensor as JavaScript names it: slot + generation in one number, so that a stale or foreign handle is an error.
struct Slot {
  Device* device = nullptr;
  Storage* storage = nullptr;
  size_t offset = 0;        // bytes into the storage
  View view;                // shape and dtype; the address is filled in when used
  uint32_t generation = 1;  // a slot that has had its last is not used again

  View resolve() const {
    View resolved = view;
    resolved.data = static_cast<char*>(storage->address) + offset;
    return resolved;
  }
};

class Session {
 public:
  explicit Session(napi_env env);
  ~Session();

  // The process is about to end: executors stop after the command that they are running.
  void halt();

  // (onComplete(tickets: number[], faults: [code, message] | null [])), makeError(code, message))
  void start(napi_value on_complete, napi_value make_error);
  napi_value make_error(const Error& error) const;

  double open(const std::string& library, int32_t ordinal, int32_t threads, double memory_limit,
              Device::TraceOptions trace);
  void destroy(double device);  // after its last ticket: joins the executor
  Device& device(double id);

  double add(Device& device, Storage* storage, size_t offset, const View& view);  // takes over one reference
  Slot& slot(double handle);
  void release(double handle);

  double add(Device& device, std::unique_ptr<Program> program);
  struct ProgramSlot {
    Device* device = nullptr;
    std::unique_ptr<Program> program;
  };
  ProgramSlot& program(double id);
  void release_program(double id);

  // f(ticket) enqueues what ends the ticket; until it has been delivered the event loop stays alive.
  template <class F>
  double with_ticket(const F& f) {
    const int64_t ticket = begin_ticket();
    try {
      f(ticket);
    } catch (...) {
      cancel_ticket();
      throw;
    }
    return static_cast<double>(ticket);
  }
  void report_memory();  // tells V8 how much lies outside its heap, in steps of a megabyte

 private:
  static void deliver(napi_env env, napi_value callback, void* session, void* data);
  void drop_everything_of(Device* device);
  void retire(Slot& slot);
  int64_t begin_ticket();
  void cancel_ticket();

  napi_env env_;
  napi_ref on_complete_ = nullptr, make_error_ = nullptr;
  napi_threadsafe_function wake_ = nullptr;
  std::shared_ptr<Completions> completions_;
  int64_t next_ticket_ = 1, open_tickets_ = 0;
  std::vector<std::unique_ptr<Device>> devices_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  std::unordered_map<int64_t, ProgramSlot> programs_;
  int64_t last_program_ = 0;
  int64_t reported_ = 0;
};

}  // namespace diffusion
