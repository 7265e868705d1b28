#include "core/transfer.h"

#include "core/pool.h"
#include "core/work.h"

namespace diffusion {

namespace {

// What is left of an upload once its data is on the way.
struct Written final : Command {
  Extent extent;
  explicit Written(Extent extent) : extent(extent) {}
  void run(Executor&) const override {}
  void mark(Executor& executor, const FaultPtr& own) const override { executor.settle(&extent, 1, own); }
};

// What is left of a download: another look at what was read.
struct ReadMark final : Command {
  std::shared_ptr<Reading> reading;
  explicit ReadMark(std::shared_ptr<Reading> reading) : reading(std::move(reading)) {}
  void run(Executor&) const override {}
  void mark(Executor& executor, const FaultPtr& own) const override {
    if (own) return;
    reading->fault = executor.fault_of(&reading->extent, 1);
  }
};

// Ends a read once the executor knows what the programs before it reported.
struct Settle final : Command {
  std::shared_ptr<Reading> reading;
  explicit Settle(std::shared_ptr<Reading> reading) : reading(std::move(reading)) {}
  void run(Executor&) const override { reading->completions->finish(reading->ticket, reading->fault); }
};

// Any thread: the device has done its part. In the order of the stream, so that everything before it has reported.
void finish(void* context, const Failure* failure) {
  const std::unique_ptr<std::shared_ptr<Reading>> held(static_cast<std::shared_ptr<Reading>*>(context));
  const std::shared_ptr<Reading>& reading = *held;
  if (failure != nullptr) return reading->completions->finish(reading->ticket, to_fault(*failure));
  if (reading->executor.journal.reports.count() == reading->reports)
    return reading->completions->finish(reading->ticket, reading->fault);
  reading->executor.push(std::make_shared<Settle>(reading));
}

// Ends the ticket, with the fault or the device's own, once everything submitted so far has ended.
void finish_later(Executor& executor, const std::shared_ptr<Completions>& completions, int64_t ticket, FaultPtr fault) {
  if (executor.stream == nullptr) return completions->finish(ticket, std::move(fault));
  struct Pending {
    std::shared_ptr<Completions> completions;
    int64_t ticket;
    FaultPtr fault;
  };
  executor.backend.notify(
      executor.stream,
      [](void* context, const Failure* failure) {
        const std::unique_ptr<Pending> pending(static_cast<Pending*>(context));
        if (failure != nullptr && !pending->fault) pending->fault = to_fault(*failure);
        pending->completions->finish(pending->ticket, std::move(pending->fault));
      },
      new Pending{completions, ticket, std::move(fault)});
}

// Counted on the device's side only.
bool describe_transfer(const char* name, const Extent& extent, bool to_device, Work& work) {
  work = work_of_transfer(name, static_cast<int64_t>(extent.end - extent.begin), !to_device, to_device);
  return true;
}

FaultPtr upload(Executor& executor, const Extent& extent, void* to, const void* from) {
  FaultPtr fault = executor.closed;
  if (!fault)
    fault = executor.attempt([&](Failure& failure) {
      return executor.reach(to, failure) &&
             executor.backend.upload(executor.stream, to, from, extent.end - extent.begin, &failure);
    });
  executor.settle(&extent, 1, fault);
  return fault;
}

}  // namespace

Upload::Upload(std::shared_ptr<Account> account, Extent extent, void* to, const void* from)
    : account_(std::move(account)),
      extent_(extent),
      to_(to),
      data_(static_cast<const char*>(from), static_cast<const char*>(from) + (extent.end - extent.begin)) {
  account_->add(static_cast<int64_t>(data_.size()));
}

Upload::~Upload() { account_->add(-static_cast<int64_t>(data_.size())); }

void Upload::run(Executor& executor) const { upload(executor, extent_, to_, data_.data()); }

CommandPtr Upload::trace(const CommandPtr&) const { return std::make_shared<Written>(extent_); }

size_t Upload::upload_bytes() const { return Pool::rounded(data_.size()); }

bool Upload::describe(Work& work) const { return describe_transfer("upload", extent_, true, work); }

void UploadInPlace::run(Executor& executor) const {
  completions->finish(ticket, upload(executor, extent, to, from));  // the data has been taken
}

CommandPtr UploadInPlace::trace(const CommandPtr&) const { return std::make_shared<Written>(extent); }

bool UploadInPlace::describe(Work& work) const { return describe_transfer("upload", extent, true, work); }

void Download::run(Executor& executor) const {
  FaultPtr fault = executor.fault_of(&extent, 1);
  if (!fault) fault = executor.attempt([&](Failure& failure) { return executor.reach(from, failure); });
  if (fault && executor.journal.empty()) return finish_later(executor, completions, ticket, std::move(fault));
  reading_ =
      std::make_shared<Reading>(completions, ticket, extent, executor, std::move(fault), executor.journal.seen());
  auto context = std::make_unique<std::shared_ptr<Reading>>(reading_);
  if (reading_->fault)
    executor.backend.notify(executor.stream, finish, context.release());
  else
    executor.backend.download(executor.stream, to, from, extent.end - extent.begin, finish, context.release());
}

CommandPtr Download::trace(const CommandPtr&) const {
  return reading_ ? std::make_shared<ReadMark>(std::move(reading_)) : nullptr;
}

bool Download::describe(Work& work) const { return describe_transfer("download", extent, false, work); }

void Synchronize::run(Executor& executor) const {
  executor.write_profile();
  finish_later(executor, completions, ticket, executor.closed);
}

}  // namespace diffusion
