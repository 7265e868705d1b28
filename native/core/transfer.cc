#include "core/transfer.h"

namespace diffusion {

namespace {

// Ends the ticket once the device has done what was submitted so far.
void finish_later(Executor& executor, const std::shared_ptr<Completions>& completions, int64_t ticket, FaultPtr fault) {
  if (executor.stream == nullptr) return completions->finish(ticket, std::move(fault));
  struct Pending {
    std::shared_ptr<Completions> completions;
    int64_t ticket;
    FaultPtr fault;
  };
  executor.backend.notify(
      executor.stream,
      [](void* context) {
        const std::unique_ptr<Pending> pending(static_cast<Pending*>(context));
        pending->completions->finish(pending->ticket, std::move(pending->fault));
      },
      new Pending{completions, ticket, std::move(fault)});
}

FaultPtr upload(Executor& executor, const Extent& extent, void* to, const void* from) {
  FaultPtr fault = executor.closed;
  if (!fault) {
    Failure failure{};
    if (!executor.backend.upload(executor.stream, to, from, extent.end - extent.begin, &failure))
      fault = to_fault(failure);
  }
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

void UploadInPlace::run(Executor& executor) const {
  finish_later(executor, completions, ticket, upload(executor, extent, to, from));
}

void Download::run(Executor& executor) const {
  FaultPtr fault = executor.fault_of(&extent, 1);
  if (!fault) {
    Failure failure{};
    if (!executor.backend.download(executor.stream, to, from, extent.end - extent.begin, &failure))
      fault = to_fault(failure);
  }
  finish_later(executor, completions, ticket, std::move(fault));
}

void Synchronize::run(Executor& executor) const { finish_later(executor, completions, ticket, executor.closed); }

}  // namespace diffusion
