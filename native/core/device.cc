#include "core/device.h"

#include <algorithm>
#include <utility>

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
  MapSlab(void* address, size_t bytes) : address(address), bytes(bytes) {}
  void run(Executor& executor) const override {
    Failure failure{};
    if (!executor.closed && !executor.backend.map(executor.stream, address, bytes, &failure))
      executor.closed = to_fault(failure);
  }
};

struct Unreserve final : Command {
  int32_t ordinal;
  void* address;
  size_t bytes;
  Unreserve(int32_t ordinal, void* address, size_t bytes) : ordinal(ordinal), address(address), bytes(bytes) {}
  void run(Executor& executor) const override { executor.backend.unreserve(ordinal, address, bytes); }
};

struct ForgetFault final : Command {
  StorageId id;
  explicit ForgetFault(StorageId id) : id(id) {}
  void run(Executor& executor) const override { executor.settle(&id, 1, nullptr); }
};

struct CopyStorage final : Command {
  void* to;
  const void* from;
  size_t bytes;
  StorageId id;  // both ends are the same storage: a fault stays with it
  void run(Executor& executor) const override {
    if (executor.fault_of(&id, 1)) return;
    Failure failure{};
    if (!executor.backend.copy(executor.stream, to, from, bytes, &failure)) {
      const FaultPtr fault = to_fault(failure);
      executor.settle(&id, 1, fault);
    }
  }
};

}  // namespace

Device::Device(LoadedBackend& backend, int32_t ordinal, int32_t threads, size_t memory_limit,
               std::shared_ptr<Completions> completions)
    : backend_(backend.api),
      ordinal_(ordinal),
      limit_(static_cast<int64_t>(memory_limit > 0 ? memory_limit : backend_.default_memory_limit(ordinal))),
      process_limit_(static_cast<int64_t>(backend_.default_memory_limit(ordinal)) +
                     Account{backend, ordinal}.process()),
      account_(std::make_shared<Account>(backend, ordinal)),
      completions_(std::move(completions)),
      pool_(slab_source()),
      arena_(slab_source()) {
  const auto open = [this, threads](Executor& executor) {
    const auto account = [](void* context, int64_t bytes) {
      auto& device = *static_cast<Device*>(context);
      if (bytes > 0 && !device.fits(static_cast<size_t>(bytes))) return false;
      device.account_->add(bytes);
      return true;
    };
    const OpenOptions options{ordinal_, threads, account, this};
    Failure failure{};
    executor.stream = executor.backend.open(&options, &failure);
    if (executor.stream == nullptr) executor.closed = to_fault(failure);
  };
  const auto close = [](Executor& executor) {
    if (executor.stream != nullptr) executor.backend.close(executor.stream);
  };
  queue_ = std::make_unique<Queue>(backend_, open, close);
}

Device::~Device() {
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

SlabSource Device::slab_source() {
  return {[this](size_t bytes) { return reserve(bytes); },
          [this](void* address, size_t bytes) { give_back(address, bytes); },
          [this](size_t bytes) {
            // Few large slabs keep fragmentation low; near the limit, just what is needed.
            const size_t growing = std::clamp(static_cast<size_t>(account_->bytes.load()), kFirstSlab, kLargestSlab);
            const size_t generous = std::max(round_up(bytes, kSlabUnit), growing);
            return static_cast<int64_t>(generous) <= limit_ / 4 && fits(generous) ? generous : round_up(bytes, kPage);
          }};
}

void* Device::reserve(size_t bytes) {
  if (!fits(bytes)) {
    pool_.trim();
    if (!recording_) arena_.trim();
  }
  if (!fits(bytes))
    fail(code::out_of_memory, "out of device memory: asked for %zu bytes, %lld in use, limit %lld", bytes,
         static_cast<long long>(account_->bytes), static_cast<long long>(limit_));
  void* address = backend_.reserve(ordinal_, bytes);
  if (address == nullptr)
    fail(code::out_of_memory, "out of address space: asked for %zu bytes, %lld in use, limit %lld", bytes,
         static_cast<long long>(account_->bytes), static_cast<long long>(limit_));
  account_->add(static_cast<int64_t>(bytes));
  enqueue(std::make_shared<MapSlab>(address, bytes));
  return address;
}

void Device::give_back(void* address, size_t bytes) {
  account_->add(-static_cast<int64_t>(bytes));
  enqueue(std::make_shared<Unreserve>(ordinal_, address, bytes));
}

Storage* Device::allocate(size_t bytes) {
  queue_->check_depth();
  Pool& pool = recording() ? arena_ : pool_;
  void* address = pool.allocate(bytes);
  auto* storage = new Storage{next_storage_id++, &pool, address, bytes};
  if (&pool == &arena_) in_arena_.insert(storage);
  peak_ = std::max(peak_, pool_.used() + arena_.used());
  return storage;
}

void Device::release(Storage* storage) {
  if (--storage->references > 0) return;
  storage->pool->free(storage->address);
  if (storage->pool == &arena_) in_arena_.erase(storage);
  if (queue_->has_faults()) enqueue(std::make_shared<ForgetFault>(storage->id));
  delete storage;
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
  if (!fits(bytes))
    fail(code::out_of_memory, "out of memory for staging: asked for %zu bytes, %lld in use, limit %lld", bytes,
         static_cast<long long>(account_->bytes), static_cast<long long>(limit_));
  submit(std::make_shared<Upload>(account_, storage->id, static_cast<char*>(storage->address) + offset, data, bytes),
         {storage});
}

void Device::upload_in_place(Storage* storage, size_t offset, const void* data, size_t bytes, int64_t ticket) {
  if (recording()) return upload(storage, offset, data, bytes), synchronize(ticket);
  auto command = std::make_shared<UploadInPlace>();
  command->completions = completions_;
  command->ticket = ticket;
  command->id = storage->id;
  command->to = static_cast<char*>(storage->address) + offset;
  command->from = data;
  command->bytes = bytes;
  submit(std::move(command), {storage});
}

void Device::check_readable() const {
  if (recording()) fail(code::device, "read and synchronize are not possible inside a recording");
}

void Device::download(Storage* storage, size_t offset, void* into, size_t bytes, int64_t ticket) {
  auto command = std::make_shared<Download>();
  command->completions = completions_;
  command->ticket = ticket;
  command->id = storage->id;
  command->from = static_cast<char*>(storage->address) + offset;
  command->to = into;
  command->bytes = bytes;
  submit(std::move(command), {storage});
}

void Device::synchronize(int64_t ticket) {
  auto command = std::make_shared<Synchronize>();
  command->completions = completions_;
  command->ticket = ticket;
  enqueue(std::move(command));
}

void Device::begin_recording() {
  if (recording_) fail(code::device, "record: a recording is already under way on this device");
  arena_.reset();
  ++recording_number_;
  recording_ = std::make_unique<ProgramBody>();
}

// What is still alive leaves the arena, which the next program will use again: each run ends with copying it out.
void Device::move_out_of_arena() {
  for (Storage* storage : in_arena_) {
    void* address = pool_.allocate(storage->bytes);
    auto copy = std::make_shared<CopyStorage>();
    copy->to = address;
    copy->from = storage->address;
    copy->bytes = storage->bytes;
    copy->id = storage->id;
    arena_.free(storage->address);
    storage->address = address;
    storage->pool = &pool_;
    submit(std::move(copy), {storage});
  }
  in_arena_.clear();
  peak_ = std::max(peak_, pool_.used());
}

std::unique_ptr<Program> Device::end_recording() {
  if (!recording_) fail(code::device, "record: no recording is under way");
  paused_ = 0;
  move_out_of_arena();
  auto program = std::make_unique<Program>();
  program->body = std::move(recording_);
  program->retained = std::exchange(touched_, {});
  return program;
}

void Device::abandon_recording() {
  if (!recording_) return;
  const auto program = end_recording();
  release(*program);
}

void Device::run(const Program& program) {
  if (recording()) fail(code::device, "run: a program cannot run inside a recording");
  queue_->check_depth();
  enqueue(std::make_shared<RunProgram>(program.body));
}

void Device::release(Program& program) {
  for (Storage* storage : program.retained) release(storage);
  program.retained.clear();
}

}  // namespace diffusion
