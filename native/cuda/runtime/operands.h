// What the kernels of an operation may touch is its operands: the emulator is told, a GPU cannot be.
#pragma once

#include "cuda/runtime/stream.h"
#if defined(DIFFUSION_EMULATOR)
#include "emulator/operands.h"
#endif

namespace diffusion::cuda {

#if defined(DIFFUSION_EMULATOR)

template <class T>
void add_operand(std::vector<emulator::Operand>& operands, const T& member) {
  using enum emulator::Operand::Use;
  if constexpr (std::is_same_v<T, Rng>) {
    add_operand(operands, member.state);
  } else if constexpr (std::is_base_of_v<View, T>) {
    constexpr bool kRead = std::is_same_v<T, In> || std::is_same_v<T, OptIn>;
    constexpr bool kOverwritten = std::is_same_v<T, Out> || std::is_same_v<T, OptOut>;
    if (member)
      operands.push_back({member.data, static_cast<size_t>(member.bytes()),
                          kRead          ? read
                          : kOverwritten ? overwrite
                                         : update});
  }
}

template <class Op>
emulator::Using using_operands(Stream& stream, const Op& op) {
  std::vector<emulator::Operand> operands;
  std::apply([&](auto... members) { (add_operand(operands, op.*members), ...); }, Op::fields);
  return {stream.handle, std::move(operands)};
}

#else

template <class Op>
int using_operands(Stream&, const Op&) {
  return 0;
}

#endif

}  // namespace diffusion::cuda
