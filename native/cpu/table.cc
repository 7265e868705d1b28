// The functions of one instruction set.
#include "cpu/ops.h"

namespace diffusion::cpu::DIFFUSION_ISA {

#define X(Op, function) function,
extern const OpTable table = {DIFFUSION_OPS(X)};
#undef X

}  // namespace diffusion::cpu::DIFFUSION_ISA
