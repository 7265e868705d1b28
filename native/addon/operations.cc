// Operations as JavaScript calls them: operation(field, field, …) with the fields of its struct in their order; a
// tensor is a handle (0: absent), an Rng is five numbers (state, seed, stream, step, first sample). Nothing is
// returned.
#include <cmath>

#include "addon/exports.h"
#include "addon/js.h"
#include "addon/session.h"

namespace diffusion {

namespace {

template <class T>
constexpr size_t kWidth = std::is_same_v<T, Rng> ? 5 : 1;

template <class Op>
constexpr size_t argument_count() {
  return std::apply(
      [](auto... members) { return (size_t{0} + ... + kWidth<typename MemberOf<decltype(members)>::Type>); },
      Op::fields);
}

template <class Op>
class Reader {
 public:
  Reader(napi_env env, Session& session, const napi_value* arguments)
      : env_(env), session_(session), next_(arguments) {}

  std::shared_ptr<Operation<Op>> read() {
    auto command = std::make_shared<Operation<Op>>();
    std::apply([&](auto... members) { (field(*command, command->op.*members), ...); }, Op::fields);
    command->op.check();
    if constexpr (!kIsOneOf<Op, Fill, Cast, Permute>)
      if (has_bf16(command->op) && !device_->computes_bf16())
        fail(code::dtype, "%s: this device does not compute in bf16", Op::name);
    check_state(*command);
    // What is updated in place is read first, except where the operation has been told to overwrite it.
    bool overwrites = false;
    if constexpr (requires { command->op.accumulate; }) overwrites = !command->op.accumulate;
    if (!overwrites)
      for (size_t i = 0; i < update_count_; ++i) command->marking.reads[command->marking.read_count++] = updates_[i];
    return command;
  }
  Device* device() const { return device_; }
  Storage* const* touched() const { return touched_; }
  size_t touched_count() const { return touched_count_; }

 private:
  // Every block of a kernel reads the state of the random numbers, each in its own time.
  void check_state(const Operation<Op>& command) const {
    for (size_t i = 0; i < command.marking.write_count; ++i) {
      const Extent& write = command.marking.writes[i];
      if (state_.id == write.id && state_.begin < write.end && write.begin < state_.end)
        fail(code::option, "%s: a result must not lie where the state of the random numbers does", Op::name);
    }
  }

  template <class T>
  void field(Operation<Op>& command, T& member) {
    if constexpr (std::is_base_of_v<View, T>) {
      tensor(command, member);
    } else if constexpr (std::is_same_v<T, Rng>) {
      tensor(command, member.state);
      if (member.state) state_ = command.marking.reads[command.marking.read_count - 1];
      const double seed = js::Js<double>::in(env_, *next_++);
      if (!(seed >= 0 && seed <= 0x1p53) || seed != std::floor(seed))
        fail(code::option, "%s: the seed must be an integer of 0 to 2^53", Op::name);
      member.seed_low = static_cast<uint32_t>(static_cast<uint64_t>(seed));
      member.seed_high = static_cast<uint32_t>(static_cast<uint64_t>(seed) >> 32);
      member.stream = word();
      member.step = word();
      member.first_sample = word();
    } else if constexpr (std::is_enum_v<T>) {
      member = static_cast<T>(js::Js<int32_t>::in(env_, *next_++));
    } else {
      member = js::Js<T>::in(env_, *next_++);
    }
  }

  template <class T>
  void tensor(Operation<Op>& command, T& member) {
    const double handle = js::Js<double>::in(env_, *next_++);
    if (handle == 0) {
      if (!kOptional<T>) fail(code::disposed, "%s: a tensor is missing", Op::name);
      return;
    }
    const Slot& slot = session_.slot(handle);
    if (device_ == nullptr) device_ = slot.device;
    if (device_ != slot.device) fail(code::device_mismatch, "%s: tensors of two devices", Op::name);
    static_cast<View&>(member) = slot.resolve();
    const Extent extent{slot.storage->id, slot.offset, slot.offset + static_cast<size_t>(slot.view.bytes())};
    auto& marking = command.marking;
    if constexpr (kUpdates<T>) updates_[update_count_++] = extent;
    if constexpr (kReads<T> && !kUpdates<T>) marking.reads[marking.read_count++] = extent;
    if constexpr (kWrites<T>) marking.writes[marking.write_count++] = extent;
    if constexpr (kIsState<T>) marking.states[marking.state_count++] = extent;
    touched_[touched_count_++] = slot.storage;
  }

  uint32_t word() {
    const double number = js::Js<double>::in(env_, *next_++);
    if (!(number >= 0 && number <= 4294967295.0))
      fail(code::option, "%s: expected an unsigned 32-bit integer", Op::name);
    return static_cast<uint32_t>(number);
  }

  napi_env env_;
  Session& session_;
  const napi_value* next_;
  Device* device_ = nullptr;
  Storage* touched_[operand_count<Op>()];
  Extent updates_[operand_count<Op>()];
  size_t touched_count_ = 0, update_count_ = 0;
  Extent state_{};  // of the random numbers
};

template <class Op>
napi_value call(napi_env env, napi_callback_info info) {
  constexpr size_t kCount = argument_count<Op>();
  napi_value arguments[kCount];
  size_t count = kCount;
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, arguments, nullptr, &data);
  auto& session = *static_cast<Session*>(data);
  try {
    if (count != kCount) fail(code::option, "%s: expected %zu arguments, got %zu", Op::name, kCount, count);
    Reader<Op> reader(env, session, arguments);
    auto command = reader.read();
    reader.device()->submit(std::move(command), reader.touched(), reader.touched_count());
    return nullptr;
  } catch (const std::exception& error) {
    return js::raise(env, session, error);
  }
}

}  // namespace

void expose_operations(napi_env env, napi_value exports, Session* session) {
#define X(Op, function) js::expose(env, exports, Op::name, call<Op>, session);
  DIFFUSION_OPS(X)
#undef X
}

}  // namespace diffusion
