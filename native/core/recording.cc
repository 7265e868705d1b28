// The part of Device that records programs.
#include <algorithm>
#include <optional>
#include <utility>

#include "core/device.h"

namespace diffusion {

namespace {

// The contents of a storage are gone for good.
struct Lose final : Command {
  StorageId id;
  FaultPtr fault;
  Lose(StorageId id, FaultPtr fault) : id(id), fault(std::move(fault)) {}
  void run(Executor& executor) const override { mark(executor, nullptr); }
  void mark(Executor& executor, const FaultPtr&) const override {
    const Extent extent = Extent::whole(id);
    executor.settle(&extent, 1, fault);
  }
  CommandPtr trace(const CommandPtr& self) const override { return self; }
};

struct CopyStorage final : Command {
  void* to;
  const void* from;
  size_t bytes;
  StorageId id;
  void run(Executor& executor) const override {
    FaultPtr fault = executor.closed;  // then there may be no stream
    if (!fault)
      fault = executor.attempt([&](Failure& failure) {
        return executor.reach(from, failure) && executor.reach(to, failure) &&
               executor.backend.copy(executor.stream, to, from, bytes, &failure);
      });
    mark(executor, fault);
  }
  // A fault stays with the part that it was in.
  void mark(Executor& executor, const FaultPtr& own) const override {
    const Extent extent{id, 0, bytes};
    if (own) executor.settle(&extent, 1, own);
  }
  CommandPtr trace(const CommandPtr& self) const override { return self; }
  bool describe(Work& work) const override {
    work = work_of_transfer("copy", static_cast<int64_t>(bytes), true, true);
    return true;
  }
};

}  // namespace

void Device::begin_recording() {
  if (recording_) fail(code::device, "record: a recording is already under way on this device");
  ++recording_number_;
  recording_ = std::make_unique<ProgramBody>();
}

// What is still alive leaves the arena, which the next program will use again: each run ends with copying it out.
void Device::leave_arena() {
  while (!in_arena_.empty()) {
    Storage* storage = *in_arena_.begin();
    void* address = pool_.allocate(storage->bytes);
    auto copy = std::make_shared<CopyStorage>();
    copy->to = address;
    copy->from = storage->address;
    copy->bytes = storage->bytes;
    copy->id = storage->id;
    arena_.free(storage->address);
    storage->address = address;
    storage->pool = &pool_;
    in_arena_.erase(storage);
    submit(std::move(copy), &storage, 1);
  }
  peak_ = std::max(peak_, pool_.used());
}

// Without memory to copy to, what is still there is lost: programs write over it. Its blocks stay taken until released.
void Device::lose_arena(const Error& cause) {
  const auto fault = std::make_shared<Fault>(Fault{cause.code, cause.what(), true});
  for (const Storage* storage : in_arena_) enqueue(std::make_shared<Lose>(storage->id, fault));
  in_arena_.clear();
}

std::unique_ptr<Program> Device::end_recording() {
  if (!recording_) fail(code::device, "record: no recording is under way");
  paused_ = 0;
  std::optional<Error> lack;
  try {
    leave_arena();
  } catch (const Error& error) {
    lack = error;
    lose_arena(error);
  }
  auto program = std::make_unique<Program>();
  program->retained = std::exchange(touched_, {});
  program->temporaries = std::exchange(temporaries_, {});
  std::vector<StorageId>& storages = recording_->storages;
  storages = program->temporaries;
  for (const Storage* storage : program->retained) storages.push_back(storage->id);
  std::sort(storages.begin(), storages.end());
  program->body = std::move(recording_);
  ++programs_;
  if (!lack) return program;
  release(*program);
  throw *lack;
}

void Device::abandon_recording() {
  if (!recording_) return;
  try {
    release(*end_recording());
  } catch (const Error&) {  // what was made inside is lost, and says so when it is used
  }
  // It may have failed for lack of memory: what it leaves unused is for others, a backend's scratch among them.
  pool_.trim();
  if (programs_ == 0) arena_.trim();
}

void Device::pause_recording() {
  if (!recording_) fail(code::device, "record: no recording is under way");
  ++paused_;
}

void Device::resume_recording() {
  if (paused_ == 0) fail(code::device, "record: the recording is not paused");
  --paused_;
}

void Device::run(const Program& program) {
  if (recording_) fail(code::device, "run: a program cannot run inside a recording");
  queue_->check_depth();
  enqueue(std::make_shared<RunProgram>(program.body));
}

void Device::release(Program& program) {
  for (Storage* storage : std::exchange(program.retained, {})) release(storage);
  for (const StorageId id : std::exchange(program.temporaries, {})) forget(id);
  if (program.body && backend_.begin_capture != nullptr) enqueue(std::make_shared<DropProgram>(program.body));
  --programs_;
}

}  // namespace diffusion
