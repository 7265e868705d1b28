#include "core/journal.h"

#include <utility>

#include "core/executor.h"
#include "core/program.h"

namespace diffusion {

void Reports::add(uint64_t run, const Report* reports, int32_t count) {
  const std::lock_guard lock(mutex_);
  for (int32_t i = 0; i < count; ++i) items_.push_back({run, reports[i].command, to_fault(reports[i].failure)});
  count_.fetch_add(static_cast<uint64_t>(count), std::memory_order_release);
  ended_.store(run, std::memory_order_release);
}

std::vector<Reports::Item> Reports::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(items_, {});
}

void Journal::begin(uint64_t run, std::shared_ptr<const ProgramBody> body, const Faults& before) {
  entries_.push_back({std::make_unique<Run>(run, std::move(body), before), nullptr, nullptr});
}

void Journal::add(Executor& executor, CommandPtr trace, FaultPtr own) {
  constexpr size_t kMost = size_t{1} << 14;
  if (trace) entries_.push_back({nullptr, std::move(trace), std::move(own)});
  if (entries_.size() < kMost) return;
  executor.wait();
  update(executor);
}

void Journal::update(Executor& executor) {
  const uint64_t ended = reports.ended();
  if (reports.count() != seen_) mark_again(executor);
  while (!entries_.empty() && (!entries_.front().run || entries_.front().run->number <= ended)) entries_.pop_front();
}

void Journal::mark_again(Executor& executor) {
  const auto items = reports.take();
  seen_ += items.size();
  auto item = items.begin();
  bool behind = false;  // behind the first run that reported
  for (Entry& entry : entries_) {
    if (entry.run) {
      Run& run = *entry.run;
      if (!behind && (item == items.end() || item->run != run.number)) continue;
      if (behind)
        run.before = executor.faults;
      else
        executor.faults = run.before;
      behind = true;
      for (size_t i = 0; i < run.body->commands.size(); ++i) {
        FaultPtr own;
        if (item != items.end() && item->run == run.number && item->command == static_cast<int32_t>(i))
          own = (item++)->fault;
        run.body->commands[i]->mark(executor, own);
      }
    } else if (behind) {
      entry.command->mark(executor, entry.own);
    }
  }
}

}  // namespace diffusion
