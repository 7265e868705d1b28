// A recorded list of commands that runs again without JavaScript.
#pragma once

#include <memory>
#include <vector>

#include "core/command.h"
#include "core/storage.h"

namespace diffusion {

// What the executor needs; lives as long as a run is queued.
struct ProgramBody {
  std::vector<CommandPtr> commands;
};

struct Program {
  std::shared_ptr<const ProgramBody> body;
  std::vector<Storage*> retained;      // every storage outside the arena that a command touches
  std::vector<StorageId> temporaries;  // inside the arena, and gone by now
};

// Between commands a closing device stops; a step in flight is then left half done, and nobody can look at it any more.
struct RunProgram final : Command {
  std::shared_ptr<const ProgramBody> body;

  explicit RunProgram(std::shared_ptr<const ProgramBody> body) : body(std::move(body)) {}
  void run(Executor& executor) const override {
    for (const CommandPtr& command : body->commands) {
      if (executor.stopping.load(std::memory_order_relaxed)) return;
      command->run(executor);
    }
  }
};

}  // namespace diffusion
