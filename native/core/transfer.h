// Commands that move data between JavaScript's memory and a device, and that report back.
#pragma once

#include <memory>
#include <vector>

#include "core/backends.h"
#include "core/completions.h"
#include "core/executor.h"

namespace diffusion {

// Copies bytes that the command owns; they count as held memory until the command goes.
class Upload final : public Command {
 public:
  Upload(std::shared_ptr<Account> account, Extent extent, void* to, const void* from);
  ~Upload() override;
  void run(Executor& executor) const override;
  void mark(Executor& executor, const FaultPtr& own) const override { executor.settle(&extent_, 1, own); }
  CommandPtr trace(const CommandPtr&) const override;
  size_t upload_bytes() const override;
  bool describe(Work& work) const override;

 private:
  std::shared_ptr<Account> account_;
  Extent extent_;
  void* to_;
  std::vector<char> data_;
};

// Copies bytes that JavaScript keeps alive and unchanged until the ticket ends.
struct UploadInPlace final : Command {
  std::shared_ptr<Completions> completions;
  int64_t ticket;
  Extent extent;
  void* to;
  const void* from;
  void run(Executor& executor) const override;
  CommandPtr trace(const CommandPtr&) const override;
  bool describe(Work& work) const override;
};

// A read under way.
struct Reading {
  std::shared_ptr<Completions> completions;
  int64_t ticket;
  Extent extent;
  Executor& executor;
  FaultPtr fault;    // the executor's, and who ends the ticket
  uint64_t reports;  // that the fault accounts for
};

// Copies to memory that JavaScript keeps alive until the ticket ends.
struct Download final : Command {
  std::shared_ptr<Completions> completions;
  int64_t ticket;
  Extent extent;
  void* to;
  const void* from;
  void run(Executor& executor) const override;
  CommandPtr trace(const CommandPtr&) const override;
  bool describe(Work& work) const override;
  bool is_skipped(const Executor& executor) const override { return executor.fault_of(&extent, 1) != nullptr; }

 private:
  mutable std::shared_ptr<Reading> reading_;
};

// Ends its ticket when everything before it has ended.
struct Synchronize final : Command {
  std::shared_ptr<Completions> completions;
  int64_t ticket;
  void run(Executor& executor) const override;
};

}  // namespace diffusion
