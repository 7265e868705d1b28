#include "core/device.h"

#include <algorithm>
#include <utility>

#include "core/profile.h"
#include "core/transfer.h"

namespace diffusion {

namespace {

std::atomic<StorageId> next_storage_id{1};

constexpr size_t kPage = 4096;
constexpr size_t kSlabUnit = size_t{2} << 20;
constexpr size_t kFirstSlab = size_t{32} << 20;
constexpr size_t kLargestSlab = size_t{512} << 20;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

struct MapSlab final : Command {
  void* address;
  size_t bytes;
  LackingSlabs& lacking;
  MapSlab(void* address, size_t bytes, LackingSlabs& lacking) : address(address), bytes(bytes), lacking(lacking) {}
  void run(Executor& executor) const override {
    // What is then used of it fails, unless there is memory by that time.
    if (!executor.closed && executor.attempt([&](Failure& failure) {
          return executor.backend.map(executor.stream, address, bytes, &failure);
        })) {
      executor.unmapped.push_back({address, bytes});
      lacking.add(address);
    }
  }
};

// Acts when it goes, which is at its place in the queue even when a closing device no longer runs its commands.
struct Unreserve final : Command {
  const Backend& backend;
  int32_t ordinal;
  void* address;
  size_t bytes;
  Unreserve(const Backend& backend, int32_t ordinal, void* address, size_t bytes)
      : backend(backend), ordinal(ordinal), address(address), bytes(bytes) {}
  ~Unreserve() override { backend.unreserve(ordinal, address, bytes); }
  void run(Executor& executor) const override {
    std::erase_if(executor.unmapped, [this](const Executor::Slab& slab) { return slab.address == address; });
  }
};

struct ForgetFaults final : Command {
  std::vector<StorageId> ids;
  explicit ForgetFaults(std::vector<StorageId> ids) : ids(std::move(ids)) {}
  void run(Executor& executor) const override {
    if (executor.faults.empty()) return;
    for (const StorageId id : ids) executor.faults.forget(id);
  }
  void mark(Executor& executor, const FaultPtr&) const override { run(executor); }
  CommandPtr trace(const CommandPtr& self) const override { return self; }
};

}  // namespace

Device::Device(LoadedBackend& backend, int32_t ordinal, int32_t threads, size_t memory_limit,
               std::shared_ptr<Completions> completions, TraceOptions trace)
    : backend_(backend.api),
      ordinal_(ordinal),
      bf16_(backend_.computes_bf16(ordinal)),
      limit_(static_cast<int64_t>(memory_limit > 0 ? memory_limit : backend_.default_memory_limit(ordinal))),
      process_limit_(static_cast<int64_t>(backend_.default_memory_limit(ordinal)) +
                     Account{backend, ordinal}.process()),
      account_(std::make_shared<Account>(backend, ordinal)),
      completions_(std::move(completions)),
      pool_(slab_source()),
      arena_(slab_source()) {
  const auto open = [this, threads, trace = std::move(trace)](Executor& executor) {
    const auto account = [](void* context, int64_t bytes) {
      auto& device = *static_cast<Device*>(context);
      if (bytes > 0) return device.take(static_cast<size_t>(bytes));
      device.account_->add(bytes);
      return true;
    };
    const auto ended = [](void* context, uint64_t run, const Report* reports, int32_t count) {
      static_cast<Device*>(context)->reports_->add(run, reports, count);
    };
    reports_ = &executor.journal.reports;
    const OpenOptions options{ordinal_, threads, account, ended, this};
    Failure failure{};
    executor.stream = executor.backend.open(&options, &failure);
    if (executor.stream == nullptr)
      executor.closed = to_fault(failure);
    else if (!trace.path.empty())
      try {
        executor.profile = std::make_shared<Profile>(trace.path, trace.name);
      } catch (const Error& error) {
        executor.closed = std::make_shared<Fault>(Fault{error.code, error.what()});
      }
  };
  const auto close = [](Executor& executor) {
    executor.write_profile();
    if (executor.stream != nullptr) executor.backend.close(executor.stream);
  };
  queue_ = std::make_unique<Queue>(backend_, open, close);
}

Device::~Device() {
  for (Storage* storage : std::exchange(touched_, {})) release(storage);  // of a recording that did not end
  queue_.reset();
  for (const Pool* pool : {&pool_, &arena_})
    for (const Pool::Slab& slab : pool->slabs()) {
      backend_.unreserve(ordinal_, slab.base, slab.bytes);
      account_->add(-static_cast<int64_t>(slab.bytes));
    }
}

bool Device::fits(size_t bytes) const {
  const auto asked = static_cast<int64_t>(bytes);
  return account_->bytes + asked <= limit_ && account_->process() + asked <= process_limit_;
}

bool Device::take(size_t bytes) { return account_->try_add(static_cast<int64_t>(bytes), limit_, process_limit_); }

void Device::make_room(size_t bytes) {
  if (fits(bytes)) return;
  pool_.trim();
  if (!recording_ && programs_ == 0) arena_.trim();  // what programs run in must stay where it is
}

void Device::fail_memory(const char* what, size_t bytes) const {
  const bool own = account_->bytes + static_cast<int64_t>(bytes) > limit_;
  fail(code::out_of_memory, "out of %s: asked for %zu bytes, %lld in use%s, limit %lld", what, bytes,
       static_cast<long long>(own ? account_->bytes : account_->process()), own ? "" : " by this process",
       static_cast<long long>(own ? limit_ : process_limit_));
}

SlabSource Device::slab_source() {
  return {[this](size_t bytes) { return reserve(bytes); },
          [this](void* address, size_t bytes) { give_back(address, bytes); },
          [this](size_t bytes) {
            // Few large slabs keep fragmentation low; near the limit or the device's end, just what is needed.
            if (lacked_) return round_up(bytes, kSlabUnit);
            const size_t growing = std::clamp(static_cast<size_t>(account_->bytes.load()), kFirstSlab, kLargestSlab);
            const size_t generous = std::max(round_up(bytes, kSlabUnit), growing);
            return static_cast<int64_t>(generous) <= limit_ / 4 && fits(generous) ? generous : round_up(bytes, kPage);
          }};
}

void* Device::reserve(size_t bytes) {
  make_room(bytes);
  if (!take(bytes)) fail_memory("device memory", bytes);
  void* address = backend_.reserve(ordinal_, bytes);
  if (address == nullptr) {
    account_->add(-static_cast<int64_t>(bytes));
    fail_memory("address space", bytes);
  }
  enqueue(std::make_shared<MapSlab>(address, bytes, lacking_));
  return address;
}

void Device::give_back(void* address, size_t bytes) {
  account_->add(-static_cast<int64_t>(bytes));
  enqueue(std::make_shared<Unreserve>(backend_, ordinal_, address, bytes));
}

Storage* Device::allocate(size_t bytes) {
  queue_->check_depth();
  if (lacking_.any()) {
    lacked_ = true;
    for (void* base : lacking_.take()) pool_.set_aside(base), arena_.set_aside(base);
  }
  Pool& pool = recording() ? arena_ : pool_;
  auto storage = std::make_unique<Storage>(next_storage_id++, &pool, nullptr, bytes);
  if (&pool == &arena_) in_arena_.insert(storage.get());
  try {
    storage->address = pool.allocate(bytes);
  } catch (...) {
    in_arena_.erase(storage.get());
    throw;
  }
  peak_ = std::max(peak_, pool_.used() + arena_.used());
  return storage.release();
}

void Device::release(Storage* storage) {
  if (--storage->references > 0) return;
  storage->pool->free(storage->address);
  if (storage->pool == &arena_ && in_arena_.erase(storage) > 0)
    temporaries_.push_back(storage->id);  // the program will write it again
  else
    forget(storage->id);
  delete storage;
}

// A released storage may still be marked by commands that are waiting; what is kept of it goes with the queue's order.
void Device::forget(StorageId id) {
  constexpr size_t kBatch = 256;
  forgotten_.push_back(id);
  if (forgotten_.size() >= kBatch) enqueue(std::make_shared<ForgetFaults>(std::exchange(forgotten_, {})));
}

Device::Memory Device::memory() const {
  return {pool_.used() + arena_.used(), peak_, static_cast<size_t>(account_->bytes.load())};
}

void Device::touch(Storage* storage) {
  if (!recording() || storage->pool == &arena_ || storage->touched_by == recording_number_) return;
  storage->touched_by = recording_number_;
  ++storage->references;
  touched_.push_back(storage);
}

void Device::submit(CommandPtr command, Storage* const* touched, size_t count) {
  queue_->check_depth();
  for (size_t i = 0; i < count; ++i) touch(touched[i]);
  if (recording()) recording_->commands.push_back(command);
  enqueue(std::move(command));
}

void Device::submit(CommandPtr command, std::initializer_list<Storage*> touched) {
  submit(std::move(command), touched.begin(), touched.size());
}

void Device::upload(Storage* storage, size_t offset, const void* data, size_t bytes) {
  make_room(bytes);
  if (!fits(bytes)) fail_memory("memory for staging", bytes);
  submit(std::make_shared<Upload>(account_, Extent{storage->id, offset, offset + bytes},
                                  static_cast<char*>(storage->address) + offset, data),
         {storage});
}

void Device::upload_in_place(Storage* storage, size_t offset, const void* data, size_t bytes, int64_t ticket) {
  if (recording()) return upload(storage, offset, data, bytes), synchronize(ticket);
  auto command = std::make_shared<UploadInPlace>();
  command->completions = completions_;
  command->ticket = ticket;
  command->extent = {storage->id, offset, offset + bytes};
  command->to = static_cast<char*>(storage->address) + offset;
  command->from = data;
  submit(std::move(command), {storage});
}

void Device::check_readable() const {
  if (recording()) fail(code::device, "read and synchronize are not possible inside a recording");
}

void Device::download(Storage* storage, size_t offset, void* into, size_t bytes, int64_t ticket) {
  auto command = std::make_shared<Download>();
  command->completions = completions_;
  command->ticket = ticket;
  command->extent = {storage->id, offset, offset + bytes};
  command->from = static_cast<char*>(storage->address) + offset;
  command->to = into;
  submit(std::move(command), {storage});
}

void Device::synchronize(int64_t ticket) {
  auto command = std::make_shared<Synchronize>();
  command->completions = completions_;
  command->ticket = ticket;
  queue_->check_running();
  enqueue(std::move(command));
}

}  // namespace diffusion
