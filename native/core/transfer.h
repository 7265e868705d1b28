// Commands that move data between JavaScript's memory and a device, and that report back.
#pragma once

#include <memory>
#include <vector>

#include "core/backends.h"
#include "core/completions.h"

namespace diffusion {

// Copies bytes that the command owns; they count as held memory until the command goes.
class Upload final : public Command {
 public:
  Upload(std::shared_ptr<Account> account, Extent extent, void* to, const void* from);
  ~Upload() override;
  void run(Executor& executor) const override;

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
};

// Copies to memory that JavaScript keeps alive until the ticket ends.
struct Download final : Command {
  std::shared_ptr<Completions> completions;
  int64_t ticket;
  Extent extent;
  void* to;
  const void* from;
  void run(Executor& executor) const override;
};

// Ends its ticket when everything before it has ended.
struct Synchronize final : Command {
  std::shared_ptr<Completions> completions;
  int64_t ticket;
  void run(Executor& executor) const override;
};

}  // namespace diffusion
