// What the executor runs, in the order of the queue, and the marks that it leaves.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/backend.h"
#include "core/error.h"

namespace diffusion {

using StorageId = uint64_t;

// Bytes [begin, end) of a storage.
struct Extent {
  StorageId id;
  size_t begin, end;

  static Extent whole(StorageId id) { return {id, 0, SIZE_MAX}; }
};

// Why the contents of a storage are not what its last command should have written.
struct Fault {
  std::string code, message;
  bool lasting = false;  // stays with the storage whatever is written
};
using FaultPtr = std::shared_ptr<const Fault>;

// The parts of storages that hold something else than they should. Almost always empty.
class Faults {
 public:
  bool empty() const { return damage_.empty(); }
  FaultPtr find(const Extent* extents, size_t count) const;                 // the first that overlaps
  void settle(const Extent* extents, size_t count, const FaultPtr& fault);  // all of it was written: soundly when null
  void forget(StorageId id) { damage_.erase(id); }
  bool any_of(const std::vector<StorageId>& sorted) const;

 private:
  struct Damage {
    size_t begin, end;
    FaultPtr fault;
  };
  std::unordered_map<StorageId, std::vector<Damage>> damage_;
};

inline FaultPtr to_fault(const Failure& failure) {
  return std::make_shared<Fault>(Fault{failure.code, failure.message});
}

struct Executor;
struct Work;

struct Command {
  virtual ~Command() = default;
  virtual void run(Executor& executor) const = 0;
  // Leaves the marks that running leaves, without running; `own` is what its action met, null when all went well.
  virtual void mark(Executor&, const FaultPtr& own) const { (void)own; }
  // What marks in its stead after it has run; null when there is nothing to mark.
  virtual std::shared_ptr<const Command> trace(const std::shared_ptr<const Command>& self) const {
    (void)self;
    return nullptr;
  }
  virtual size_t upload_bytes() const { return 0; }
  // What it does on a device (work.h); false for what only concerns the queue.
  virtual bool describe(Work&) const { return false; }
  // Whether running it now comes to nothing, because of what has failed before.
  virtual bool is_skipped(const Executor& executor) const;
};
using CommandPtr = std::shared_ptr<const Command>;

}  // namespace diffusion
