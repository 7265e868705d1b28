// An operation of the contract as a command.
#pragma once

#include <tuple>
#include <type_traits>
#include <utility>

#include "core/executor.h"
#include "core/work.h"

namespace diffusion {

template <class Member>
struct MemberOf;
template <class Owner, class T>
struct MemberOf<T Owner::*> {
  using Type = T;
};

template <class T>
constexpr size_t one_operand() {
  return std::is_base_of_v<View, T> || std::is_same_v<T, Rng> ? 1 : 0;
}

// How many tensors an operation has at most, from its fields.
template <class Op>
constexpr size_t operand_count() {
  return std::apply(
      [](auto... members) { return (size_t{0} + ... + one_operand<typename MemberOf<decltype(members)>::Type>()); },
      Op::fields);
}

template <class Op>
struct Operation final : Command {
  Op op;
  Marking<operand_count<Op>()> marking;

  void run(Executor& executor) const override {
    marking.guard(executor, [&](Failure& failure) {
      if (!executor.unmapped.empty() && !reach(executor, failure)) return false;
      return executor.backend.run(executor.stream, op_id<Op>, &op, &failure);
    });
  }
  void mark(Executor& executor, const FaultPtr& own) const override { marking.mark(executor, own); }
  CommandPtr trace(const CommandPtr& self) const override { return self; }
  bool describe(Work& work) const override {
    work = work_of(op);
    return true;
  }
  bool is_skipped(const Executor& executor) const override {
    return executor.fault_of(marking.reads, marking.read_count) != nullptr;
  }

 private:
  bool reach(Executor& executor, Failure& failure) const {
    const auto one = [&](const auto& member) {
      using T = std::decay_t<decltype(member)>;
      if constexpr (std::is_base_of_v<View, T>) return member.data == nullptr || executor.reach(member.data, failure);
      if constexpr (std::is_same_v<T, Rng>)
        return member.state.data == nullptr || executor.reach(member.state.data, failure);
      return true;
    };
    return std::apply([&](auto... members) { return (one(op.*members) && ...); }, Op::fields);
  }
};

}  // namespace diffusion
