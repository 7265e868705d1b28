#include "emulator/operands.h"

#include "emulator/device_memory.h"
#include "emulator/state.h"

namespace diffusion::emulator {

// What lies elsewhere is the kernel's fault when it goes there.
Using::Using(cudaStream_t stream, std::vector<Operand> operands) : stream_(stream) {
  std::erase_if(operands, [](const Operand& operand) { return !on_device(operand.address); });
  operands_ = std::make_shared<const std::vector<Operand>>(std::move(operands));
  announce(true);
}

Using::~Using() { announce(false); }

void Using::announce(bool begin) const {
  enqueue(stream_, [operands = operands_, begin] {
    begin ? begin_use(*operands) : end_use(*operands);
    return std::string();
  });
}

}  // namespace diffusion::emulator
