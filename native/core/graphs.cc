#include "core/graphs.h"

#include "core/executor.h"
#include "core/program.h"

namespace diffusion {

namespace {
constexpr int kMostRefusals = 3;  // then a body is not tried again
}

bool Graphs::run(Executor& executor, const std::shared_ptr<const ProgramBody>& body) {
  const Backend& backend = executor.backend;
  if (backend.begin_capture == nullptr || executor.closed || body->commands.empty()) return false;
  if (executor.profile) return false;  // a graph would be one command of it
  // One by one where a mark decides which commands run, and where memory has yet to be found.
  if (!executor.unmapped.empty() || (!executor.faults.empty() && executor.faults.any_of(body->storages))) return false;

  Entry& entry = entries_[body.get()];
  entry.body = body;
  if (entry.graph != nullptr && !backend.is_current(executor.stream, entry.graph)) {
    backend.destroy(executor.stream, entry.graph);
    entry.graph = nullptr;
  }
  if (entry.graph == nullptr) capture(executor, entry);
  if (entry.graph == nullptr) return false;
  if (executor.stopping.load(std::memory_order_relaxed)) return true;

  uint64_t number = 0;
  const FaultPtr failure =
      executor.attempt([&](Failure& why) { return backend.replay(executor.stream, entry.graph, &number, &why); });
  if (failure) {
    for (const CommandPtr& command : body->commands) command->mark(executor, failure);
  } else if (number > 0 || !executor.journal.empty()) {
    executor.journal.begin(number, body, executor.faults);
  }
  return true;
}

// What fails while it is recorded has not run: the marks are taken back, and the commands then run one by one.
void Graphs::capture(Executor& executor, Entry& entry) {
  if (entry.refusals >= kMostRefusals) return;
  const Backend& backend = executor.backend;
  const auto& commands = entry.body->commands;
  size_t upload_bytes = 0;
  for (const CommandPtr& command : commands) upload_bytes += command->upload_bytes();
  Failure failure{};
  if (backend.begin_capture(executor.stream, commands.size(), upload_bytes, &failure)) {
    const Faults before = executor.faults;
    executor.own = nullptr;
    bool keep = true;
    for (const CommandPtr& command : commands) {
      command->run(executor);
      keep = !executor.own && !executor.stopping.load(std::memory_order_relaxed);
      if (!keep) break;
    }
    entry.graph = backend.end_capture(executor.stream, keep, &failure);
    if (!keep) executor.faults = before;
    executor.own = nullptr;
  }
  if (entry.graph == nullptr) ++entry.refusals;
}

void Graphs::drop(Executor& executor, const ProgramBody* body) {
  const auto found = entries_.find(body);
  if (found == entries_.end()) return;
  if (found->second.graph != nullptr) executor.backend.destroy(executor.stream, found->second.graph);
  entries_.erase(found);
}

void Graphs::drop_all(Executor& executor) {
  while (!entries_.empty()) drop(executor, entries_.begin()->first);
}

}  // namespace diffusion
