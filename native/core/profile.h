// How long each command of an executor takes, for a trace.
//
// A command is begun and ended by the host's clock where the backend works within its calls, else by marks on the
// device's own time (backend.h): two a command, which cost a microsecond or two each to submit, so that very short
// commands end up further apart than without a profile. The executor waits for its marks when kMost commands have
// them, when somebody synchronises, and every half a second: a device is idle for some ten microseconds then.
// Programs run command by command while it lasts, not as graphs.
#pragma once

#include <string>
#include <vector>

#include "core/command.h"
#include "core/trace.h"
#include "core/work.h"

namespace diffusion {

// Executor thread.
class Profile {
 public:
  // Throws Error(option) when the file cannot be written.
  Profile(const std::string& path, const std::string& device);

  void execute(Executor& executor, const CommandPtr& command);
  void write(Executor& executor);  // what is known so far; waits for the device

 private:
  static constexpr size_t kMost = 1024;

  struct Event {
    Work work;
    bool failed;
    double begin, end;  // microseconds in the trace; unknown yet where the device has marks
  };
  bool mark(Executor& executor, size_t number, double& moment);
  void read_marks(Executor& executor);
  void append(const Event& event);

  Trace& trace_;
  const int32_t row_;
  std::vector<Event> events_;
  std::string text_;
  double last_end_ = 0.0;
  Trace::Clock::time_point written_ = Trace::Clock::now();
  bool blind_ = false;  // a mark has failed: the device is lost
};

}  // namespace diffusion
