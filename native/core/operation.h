// An operation of the contract as a command.
#pragma once

#include <tuple>
#include <type_traits>
#include <utility>

#include "core/command.h"

namespace diffusion {

template <class T>
inline constexpr bool kReads =
    std::is_same_v<T, In> || std::is_same_v<T, OptIn> || std::is_same_v<T, InOut> || std::is_same_v<T, OptInOut>;
template <class T>
inline constexpr bool kWrites =
    std::is_same_v<T, Out> || std::is_same_v<T, OptOut> || std::is_same_v<T, InOut> || std::is_same_v<T, OptInOut>;
template <class T>
inline constexpr bool kOptional = std::is_same_v<T, OptIn> || std::is_same_v<T, OptOut> || std::is_same_v<T, OptInOut>;

template <class Member>
struct MemberOf;
template <class Owner, class T>
struct MemberOf<T Owner::*> {
  using Type = T;
};

// How many storages an operation can read and write at most, from its fields.
template <class Op>
struct Operands {
  static constexpr size_t count(bool writing) {
    return std::apply(
        [writing](auto... members) {
          return (size_t{0} + ... + one<typename MemberOf<decltype(members)>::Type>(writing));
        },
        Op::fields);
  }
  template <class T>
  static constexpr size_t one(bool writing) {
    if constexpr (std::is_same_v<T, Rng>) return writing ? 0 : 1;
    return (writing ? kWrites<T> : kReads<T>) ? 1 : 0;
  }
};

template <class Op>
struct Operation final : Command {
  Op op;
  Marking<Operands<Op>::count(false), Operands<Op>::count(true)> marking;

  void run(Executor& executor) const override {
    marking.guard(executor,
                  [&](Failure& failure) { return executor.backend.run(executor.stream, op_id<Op>, &op, &failure); });
  }
};

}  // namespace diffusion
