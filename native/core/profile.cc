#include "core/profile.h"

#include <algorithm>
#include <cstdio>

#include "core/executor.h"

namespace diffusion {

namespace {
constexpr auto kInterval = std::chrono::milliseconds(500);
}

Profile::Profile(const std::string& path, const std::string& device)
    : trace_(Trace::open(path)), row_(trace_.add_row(device)) {
  events_.reserve(kMost);
}

void Profile::execute(Executor& executor, const CommandPtr& command) {
  Work work;
  if (blind_ || !command->describe(work) || command->is_skipped(executor)) return executor.carry_out(command);
  executor.own = nullptr;
  double begin = 0.0, end = 0.0;
  const bool began = mark(executor, 2 * events_.size(), begin);
  executor.carry_out(command);
  if (!began || !mark(executor, 2 * events_.size() + 1, end)) return events_.clear();
  events_.push_back({std::move(work), executor.own != nullptr, begin, end});
  if (events_.size() == kMost || Trace::Clock::now() - written_ > kInterval) write(executor);
}

bool Profile::mark(Executor& executor, size_t number, double& moment) {
  if (executor.backend.mark == nullptr) {
    moment = trace_.microseconds(Trace::Clock::now());
    return true;
  }
  Failure failure{};
  blind_ = !executor.backend.mark(executor.stream, static_cast<int32_t>(number), &failure);
  return !blind_;
}

void Profile::read_marks(Executor& executor) {
  std::vector<int64_t> moments(2 * events_.size());
  Failure failure{};
  blind_ =
      !executor.backend.read_marks(executor.stream, moments.data(), static_cast<int32_t>(moments.size()), &failure);
  if (blind_) return events_.clear();
  const auto microseconds = [&](int64_t moment) {
    return trace_.microseconds(Trace::Clock::time_point(std::chrono::nanoseconds(moment)));
  };
  for (size_t i = 0; i < events_.size(); ++i) {
    events_[i].begin = microseconds(moments[2 * i]);
    events_[i].end = microseconds(moments[2 * i + 1]);
  }
}

void Profile::write(Executor& executor) {
  if (!events_.empty() && executor.backend.mark != nullptr) read_marks(executor);
  for (Event& event : events_) {
    // Marks are set to the host's time once for every list of them, to within some microseconds.
    event.begin = std::max(event.begin, last_end_);
    event.end = last_end_ = std::max(event.begin, event.end);
    append(event);
  }
  events_.clear();
  if (!text_.empty()) trace_.write(text_);
  text_.clear();
  written_ = Trace::Clock::now();
}

void Profile::append(const Event& event) {
  const Work& work = event.work;
  const double duration = event.end - event.begin;
  char part[256];
  snprintf(part, sizeof part,
           ",\n{\"ph\":\"X\",\"name\":\"%s\",\"pid\":%d,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f,\"args\":{", work.name,
           trace_.process(), row_, event.begin, duration);
  text_ += part;
  text_ += "\"shapes\":\"" + work.shapes + '"';
  snprintf(part, sizeof part, ",\"dtype\":\"%s\",\"flops\":%.0f,\"bytes\":%lld", name_of(work.dtype), work.flops,
           static_cast<long long>(work.bytes));
  text_ += part;
  const auto rate = [&](const char* unit, double amount) {
    if (amount <= 0.0 || duration < 0.001) return;
    snprintf(part, sizeof part, ",\"%s\":%.4g", unit, amount / duration / 1e3);
    text_ += part;
  };
  rate("GFLOP/s", work.flops);
  rate("GB/s", static_cast<double>(work.bytes));
  text_ += event.failed ? ",\"failed\":true}}" : "}}";
}

}  // namespace diffusion
