// The functions of the operations.
#include "cuda/ops.h"

namespace diffusion::cuda {

#define X(Op, function) function,
extern const OpTable table = {DIFFUSION_OPS(X)};
#undef X

}  // namespace diffusion::cuda
