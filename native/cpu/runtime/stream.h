// The CPU backend's side of an open device.
#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "core/backend.h"

namespace diffusion {

namespace cpu {
class Primitives;  // oneDNN's engine and cached primitives (primitives.h)

// Temporary memory of operations, kept between them, grown on demand and accounted for. One array a slot, so that one
// operation can use several at once; contents do not survive the operation.
class Scratch {
 public:
  static constexpr int kSlots = 8;

  explicit Scratch(const OpenOptions& options) : options_(options) {}
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // 64-byte aligned; throws Error(out_of_memory).
  void* get(int slot, size_t bytes);
  float* floats(int slot, size_t count) { return static_cast<float*>(get(slot, count * sizeof(float))); }

 private:
  struct Block {
    void* data = nullptr;
    size_t bytes = 0;
  };
  OpenOptions options_;
  std::array<Block, kSlots> blocks_;
};
}  // namespace cpu

struct Stream {
  explicit Stream(const OpenOptions& options);
  ~Stream();

  const int threads;  // of the OpenMP team that the executor thread leads
  cpu::Scratch scratch;
  std::unique_ptr<cpu::Primitives> primitives;
};

}  // namespace diffusion
