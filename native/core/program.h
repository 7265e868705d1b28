// A recorded list of commands that runs again without JavaScript.
#pragma once

#include <memory>
#include <vector>

#include "core/executor.h"
#include "core/storage.h"

namespace diffusion {

// What the executor needs; lives as long as a run is queued.
struct ProgramBody {
  std::vector<CommandPtr> commands;
  std::vector<StorageId> storages;  // all that the commands touch, sorted
};

struct Program {
  std::shared_ptr<const ProgramBody> body;
  std::vector<Storage*> retained;      // every storage outside the arena that a command touches
  std::vector<StorageId> temporaries;  // inside the arena, and gone by now
};

// One graph where the backend has them, else the commands one by one. Between commands a closing device stops; a step
// in flight is then left half done, and nobody can look at it any more.
struct RunProgram final : Command {
  std::shared_ptr<const ProgramBody> body;

  explicit RunProgram(std::shared_ptr<const ProgramBody> body) : body(std::move(body)) {}
  void run(Executor& executor) const override {
    if (executor.graphs.run(executor, body)) return;
    for (const CommandPtr& command : body->commands) {
      if (executor.stopping.load(std::memory_order_relaxed)) return;
      executor.execute(command);
    }
  }
};

// Behind the last run.
struct DropProgram final : Command {
  std::shared_ptr<const ProgramBody> body;

  explicit DropProgram(std::shared_ptr<const ProgramBody> body) : body(std::move(body)) {}
  void run(Executor& executor) const override { executor.graphs.drop(executor, body.get()); }
};

}  // namespace diffusion
