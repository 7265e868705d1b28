#include "addon/session.h"

#include <cmath>
#include <utility>

#include "addon/js.h"

namespace diffusion {

namespace {
// handle = generation · 2^24 + slot + 1; zero is no tensor.
constexpr double kSlots = 16777216.0;
constexpr uint32_t kLastGeneration = (1u << 29) - 1;  // so that a handle is an integer below 2^53

size_t index_of(double id, size_t count, const char* what) {
  if (!(id >= 1 && id <= static_cast<double>(count)) || id != std::floor(id)) fail(code::disposed, "no such %s", what);
  return static_cast<size_t>(id) - 1;
}
}  // namespace

Session::Session(napi_env env) : env_(env) {}

Session::~Session() {
  for (const auto& device : devices_)
    if (device) device->stop();
  for (const auto& device : devices_)
    if (device) drop_everything_of(device.get());
  devices_.clear();  // joins the executors; what they might still call is alive until here
}

void Session::halt() {
  for (const auto& device : devices_)
    if (device) device->stop();
  for (const auto& device : devices_)
    if (device) device->end();
}

void Session::start(napi_value on_complete, napi_value make_error) {
  if (completions_) fail(code::device, "the addon has been started already");
  for (const napi_value function : {on_complete, make_error}) {
    napi_valuetype type;
    js::ok(env_, napi_typeof(env_, function, &type));
    if (type != napi_function) fail(code::option, "start: expected two functions");
  }
  napi_value name;
  js::ok(env_, napi_create_string_utf8(env_, "diffusion-native", NAPI_AUTO_LENGTH, &name));
  js::ok(env_, napi_create_reference(env_, on_complete, 1, &on_complete_));
  js::ok(env_, napi_create_reference(env_, make_error, 1, &make_error_));
  js::ok(env_,
         napi_create_threadsafe_function(env_, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, deliver, &wake_));
  js::ok(env_, napi_unref_threadsafe_function(env_, wake_));
  completions_ = std::make_shared<Completions>(
      [wake = wake_] { return napi_call_threadsafe_function(wake, nullptr, napi_tsfn_nonblocking) == napi_ok; });
}

void Session::deliver(napi_env env, napi_value, void* context, void*) {
  if (env == nullptr) return;  // the environment is going away
  auto& session = *static_cast<Session*>(context);
  const auto items = session.completions_->take();
  if (items.empty()) return;
  session.open_tickets_ -= static_cast<int64_t>(items.size());
  if (session.open_tickets_ == 0) napi_unref_threadsafe_function(env, session.wake_);
  napi_value arguments[2], callback, receiver;
  napi_create_array_with_length(env, items.size(), &arguments[0]);
  napi_create_array_with_length(env, items.size(), &arguments[1]);
  for (uint32_t i = 0; i < items.size(); ++i) {
    napi_value ticket, fault;
    napi_create_double(env, static_cast<double>(items[i].ticket), &ticket);
    napi_set_element(env, arguments[0], i, ticket);
    if (items[i].fault)
      fault = session.make_error(Error(items[i].fault->code.c_str(), items[i].fault->message));
    else
      napi_get_null(env, &fault);
    napi_set_element(env, arguments[1], i, fault);
  }
  napi_get_reference_value(env, session.on_complete_, &callback);
  napi_get_undefined(env, &receiver);
  napi_call_function(env, receiver, callback, 2, arguments, nullptr);
}

napi_value Session::make_error(const Error& error) const {
  napi_value arguments[2], result = nullptr, factory, receiver;
  napi_create_string_utf8(env_, error.code, NAPI_AUTO_LENGTH, &arguments[0]);
  napi_create_string_utf8(env_, error.what(), NAPI_AUTO_LENGTH, &arguments[1]);
  if (make_error_ == nullptr) {
    napi_create_error(env_, arguments[0], arguments[1], &result);
    return result;
  }
  napi_get_reference_value(env_, make_error_, &factory);
  napi_get_undefined(env_, &receiver);
  if (napi_call_function(env_, receiver, factory, 2, arguments, &result) != napi_ok) return nullptr;
  return result;
}

int64_t Session::begin_ticket() {
  if (open_tickets_++ == 0) js::ok(env_, napi_ref_threadsafe_function(env_, wake_));
  return next_ticket_++;
}

void Session::cancel_ticket() {
  if (--open_tickets_ == 0) napi_unref_threadsafe_function(env_, wake_);
}

double Session::open(const std::string& library, int32_t ordinal, int32_t threads, double memory_limit,
                     Device::TraceOptions trace) {
  if (!completions_) fail(code::device, "the addon has not been started");
  if (!(memory_limit >= 0 && memory_limit <= 0x1p53) || threads < 0 || ordinal < 0)
    fail(code::option, "open: a number is out of range");
  devices_.push_back(std::make_unique<Device>(load_backend(library), ordinal, threads,
                                              static_cast<size_t>(memory_limit), completions_, std::move(trace)));
  return static_cast<double>(devices_.size());
}

Device& Session::device(double id) {
  const auto& device = devices_[index_of(id, devices_.size(), "device")];
  if (!device) fail(code::disposed, "the device is closed");
  return *device;
}

void Session::drop_everything_of(Device* device) {
  std::erase_if(programs_, [device](const auto& entry) {
    const ProgramSlot& slot = entry.second;
    if (slot.device == device) device->release(*slot.program);
    return slot.device == device;
  });
  for (Slot& slot : slots_) {
    if (slot.device != device) continue;
    device->release(slot.storage);
    retire(slot);
  }
}

void Session::retire(Slot& slot) {
  const uint32_t generation = slot.generation + 1;
  slot = Slot();
  slot.generation = generation;
  if (generation < kLastGeneration) free_slots_.push_back(static_cast<uint32_t>(&slot - slots_.data()));
}

void Session::destroy(double id) {
  Device& closing = device(id);
  drop_everything_of(&closing);
  devices_[index_of(id, devices_.size(), "device")].reset();
  report_memory();
}

double Session::add(Device& device, Storage* storage, size_t offset, const View& view) {
  if (free_slots_.empty()) {
    if (static_cast<double>(slots_.size()) + 2 >= kSlots) {
      device.release(storage);
      fail(code::device, "too many tensors are alive");
    }
    free_slots_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint32_t index = free_slots_.back();
  free_slots_.pop_back();
  Slot& slot = slots_[index];
  slot.device = &device;
  slot.storage = storage;
  slot.offset = offset;
  slot.view = view;
  return static_cast<double>(slot.generation) * kSlots + index + 1;
}

Slot& Session::slot(double handle) {
  const double generation = std::floor(handle / kSlots);
  const double index = handle - generation * kSlots - 1;
  if (!(index >= 0 && index < static_cast<double>(slots_.size())) || index != std::floor(index))
    fail(code::disposed, "not a tensor of this thread");
  Slot& slot = slots_[static_cast<size_t>(index)];
  if (slot.device == nullptr || slot.generation != generation) fail(code::disposed, "the tensor has been disposed");
  return slot;
}

void Session::release(double handle) {
  Slot& released = slot(handle);
  released.device->release(released.storage);
  retire(released);
}

double Session::add(Device& device, std::unique_ptr<Program> program) {
  programs_.emplace(++last_program_, ProgramSlot{&device, std::move(program)});
  return static_cast<double>(last_program_);
}

Session::ProgramSlot& Session::program(double id) {
  const auto found = programs_.find(id >= 1 && id <= 0x1p53 && id == std::floor(id) ? static_cast<int64_t>(id) : 0);
  if (found == programs_.end()) fail(code::disposed, "the program has been disposed");
  return found->second;
}

void Session::release_program(double id) {
  ProgramSlot& slot = program(id);
  slot.device->release(*slot.program);
  programs_.erase(static_cast<int64_t>(id));
}

void Session::report_memory() {
  int64_t used = 0;
  for (const auto& device : devices_)
    if (device) used += static_cast<int64_t>(device->memory().used);
  if (std::abs(used - reported_) < (int64_t{1} << 20)) return;
  int64_t total;
  napi_adjust_external_memory(env_, used - reported_, &total);
  reported_ = used;
}

}  // namespace diffusion
