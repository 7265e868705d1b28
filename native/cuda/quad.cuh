// Four neighbouring values that move as 16 bytes.
#pragma once

#include "cuda/simt.h"

namespace diffusion::cuda {

struct alignas(16) Quad {
  float at[4] = {0, 0, 0, 0};
};

}  // namespace diffusion::cuda
