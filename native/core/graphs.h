// Programs in the backend's own form.
#pragma once

#include <memory>
#include <unordered_map>

#include "core/backend.h"

namespace diffusion {

struct Executor;
struct ProgramBody;

// Executor thread.
class Graphs {
 public:
  // Submits the body as one piece of work; false when its commands have to run one by one.
  bool run(Executor& executor, const std::shared_ptr<const ProgramBody>& body);
  void drop(Executor& executor, const ProgramBody* body);
  void drop_all(Executor& executor);

 private:
  struct Entry {
    std::shared_ptr<const ProgramBody> body;
    Graph* graph = nullptr;
    int refusals = 0;
  };
  void capture(Executor& executor, Entry& entry);

  std::unordered_map<const ProgramBody*, Entry> entries_;
};

}  // namespace diffusion
