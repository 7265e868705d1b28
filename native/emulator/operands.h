// Between the kernels of a stream: which tensors those that follow may use. CUDA has nothing like it.
#pragma once

#include <memory>
#include <vector>

#include "emulator/device_memory.h"
#include "emulator/runtime.h"

namespace diffusion::emulator {

// While it lives, kernels that are queued may use these.
class Using {
 public:
  Using(cudaStream_t stream, std::vector<Operand> operands);
  ~Using();
  Using(const Using&) = delete;
  Using& operator=(const Using&) = delete;

 private:
  void announce(bool begin) const;

  cudaStream_t stream_;
  std::shared_ptr<const std::vector<Operand>> operands_;
};

}  // namespace diffusion::emulator
