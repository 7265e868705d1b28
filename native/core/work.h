// What a command takes of a device: for those who look at a program, and for traces.
//
// FLOPs: two for each multiplication with its addition, as the formula says it (taps of a filter that lie in the
// padding count, and an enlarged image counts as enlarged), whatever the way it is computed. Operations without
// products of matrices count 0: memory is what bounds them. An operation's struct says it as `double flops() const`.
//
// Bytes: what has to move when nothing is kept near the processor from one operation to the next: operands that are
// read or written count once, those that are updated twice. Absent ones count nothing, nor does the state of random
// numbers. A struct with `int64_t untouched() const` says how much of that a run does not touch.
#pragma once

#include <string>
#include <tuple>

#include "core/view.h"

namespace diffusion {

struct Work {
  const char* name = nullptr;
  DType dtype = DType::u8;  // of the first operand that holds floats, else of the first
  std::string shapes;       // of what is only read → of what is written: "2×8×8×3, 3×3×3×5 → 2×8×8×5"
  double flops = 0.0;
  int64_t bytes = 0;
};

const char* name_of(DType dtype);
void append_shape(std::string& list, const View& view);

// Of a command that moves bytes: 'u8', and their number as the shape.
Work work_of_transfer(const char* name, int64_t bytes, bool reads, bool writes);

template <class Op>
int64_t bytes_moved(const Op& op) {
  bool overwrites = false;
  if constexpr (requires { op.accumulate; }) overwrites = !op.accumulate;
  const auto one = [&](const auto& member) -> int64_t {
    using T = std::decay_t<decltype(member)>;
    if constexpr (std::is_base_of_v<View, T>) {
      const bool twice = kIsState<T> || (kUpdates<T> && !overwrites);
      return member ? (twice ? 2 : 1) * member.bytes() : 0;
    }
    return 0;
  };
  int64_t bytes = std::apply([&](auto... members) { return (int64_t{0} + ... + one(op.*members)); }, Op::fields);
  if constexpr (requires { op.untouched(); }) bytes -= op.untouched();
  return bytes;
}

template <class Op>
Work work_of(const Op& op) {
  Work work;
  work.name = Op::name;
  const View* typed = nullptr;
  std::string written;
  const auto one = [&](const auto& member) {
    using T = std::decay_t<decltype(member)>;
    if constexpr (std::is_base_of_v<View, T>) {
      if (!member) return;
      const auto holds_floats = [](const View& view) { return view.dtype == DType::f32 || view.dtype == DType::bf16; };
      if (typed == nullptr || (!holds_floats(*typed) && holds_floats(member))) typed = &member;
      append_shape(kWrites<T> || kIsState<T> ? written : work.shapes, member);
    }
  };
  std::apply([&](auto... members) { (one(op.*members), ...); }, Op::fields);
  if (typed != nullptr) work.dtype = typed->dtype;
  work.shapes += (work.shapes.empty() ? "→ " : " → ") + written;
  if constexpr (requires { op.flops(); }) work.flops = op.flops();
  work.bytes = bytes_moved(op);
  return work;
}

}  // namespace diffusion
