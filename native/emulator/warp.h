// The collectives of a warp. A collective waits until every lane of its mask has come; all must bring the same mask and
// operation. Functions here are not instrumented: what they touch is the emulator's, not the kernel's.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "emulator/block.h"

namespace diffusion::emulator {

template <class T>
struct ShuffleSlot {
  T value, result;
  int argument, width;
};

// source(lane, argument) is the lane that `lane` reads, or -1 for its own.
template <class T, class Source>
__attribute__((noinline, no_sanitize("thread"))) T shuffle(const char* operation, uint32_t mask, T value, int argument,
                                                           int width, const Source& source) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "what CUDA shuffles");
  Block& block = *current_block;
  ShuffleSlot<T> mine{value, value, argument, width};
  if (width < 1 || width > kWarpSize || (width & (width - 1)) != 0)
    block.fault("%s: width %d is no power of two up to 32", operation, width);
  if (!block.arrive(mask, operation, &mine)) return mine.result;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    auto* to = static_cast<ShuffleSlot<T>*>(block.slot(lane));
    if (to == nullptr) continue;
    const int first = lane & ~(to->width - 1), from = source(lane, to->argument, first, to->width);
    if (from < 0) continue;
    if (const auto* other = static_cast<const ShuffleSlot<T>*>(block.slot(from)))
      to->result = other->value;
    else
      std::memset(&to->result, 0xFF, sizeof(T));  // undefined
  }
  block.complete();
  return mine.result;
}

// Every lane's f(bits of the lanes whose predicate holds, mask).
template <class F>
__attribute__((noinline, no_sanitize("thread"))) unsigned vote(const char* operation, uint32_t mask, bool predicate,
                                                               const F& f) {
  struct Slot {
    bool predicate;
    unsigned result;
  } mine{predicate, 0};
  Block& block = *current_block;
  if (!block.arrive(mask, operation, &mine)) return mine.result;
  uint32_t bits = 0;
  for (int lane = 0; lane < kWarpSize; ++lane)
    if (const auto* slot = static_cast<const Slot*>(block.slot(lane)); slot != nullptr && slot->predicate)
      bits |= 1u << lane;
  for (int lane = 0; lane < kWarpSize; ++lane)
    if (auto* slot = static_cast<Slot*>(block.slot(lane))) slot->result = f(bits, mask);
  block.complete();
  return mine.result;
}

}  // namespace diffusion::emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  return diffusion::emulator::shuffle("__shfl_sync", mask, value, lane, width,
                                      [](int, int from, int first, int w)
                                          __attribute__((always_inline)) { return first + (from & (w - 1)); });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  return diffusion::emulator::shuffle("__shfl_xor_sync", mask, value, bits, width,
                                      [](int lane, int x, int first, int w) __attribute__((always_inline)) {
                                        return (lane ^ x) < first + w ? lane ^ x : -1;
                                      });
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return diffusion::emulator::shuffle("__shfl_down_sync", mask, value, static_cast<int>(delta), width,
                                      [](int lane, int d, int first, int w) __attribute__((always_inline)) {
                                        return lane + d < first + w ? lane + d : -1;
                                      });
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return diffusion::emulator::shuffle("__shfl_up_sync", mask, value, static_cast<int>(delta), width,
                                      [](int lane, int d, int first, int)
                                          __attribute__((always_inline)) { return lane - d >= first ? lane - d : -1; });
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return diffusion::emulator::vote("__ballot_sync", mask, predicate != 0,
                                   [](unsigned bits, unsigned) __attribute__((always_inline)) { return bits; });
}
inline int __any_sync(unsigned mask, int predicate) {
  return static_cast<int>(diffusion::emulator::vote(
      "__any_sync", mask, predicate != 0,
      [](unsigned bits, unsigned) __attribute__((always_inline)) { return unsigned{bits != 0}; }));
}
inline int __all_sync(unsigned mask, int predicate) {
  return static_cast<int>(diffusion::emulator::vote(
      "__all_sync", mask, predicate != 0,
      [](unsigned bits, unsigned all) __attribute__((always_inline)) { return unsigned{bits == all}; }));
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  diffusion::emulator::vote("__syncwarp", mask, false,
                            [](unsigned, unsigned) __attribute__((always_inline)) { return 0u; });
}
