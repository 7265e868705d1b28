// Moments on a stream, told by events.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "cuda/simt.h"

namespace diffusion {
struct Stream;
}

namespace diffusion::cuda {

// As Backend::mark. Between events CUDA gives milliseconds in float32, good for half a microsecond within some
// seconds: the times of a list count from an event of its own, which the host sees pass.
class Marks {
 public:
  Marks() = default;
  ~Marks();
  Marks(const Marks&) = delete;
  Marks& operator=(const Marks&) = delete;

  // Throw Error(device).
  void put(Stream& stream, int32_t number);
  void read(int64_t* moments, int32_t count);

 private:
  cudaEvent_t event(size_t number);

  std::vector<cudaEvent_t> events_;  // the first is where the list begins
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace diffusion::cuda
