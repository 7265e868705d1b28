// The operations of the CUDA backend, as backend.cc calls them.
#pragma once

#include "core/ops/ops.h"
#include "cuda/runtime/stream.h"

namespace diffusion::cuda {

struct OpTable {
#define X(Op, function) void (*function)(Stream&, const Op&);
  DIFFUSION_OPS(X)
#undef X
};

#define X(Op, function) void function(Stream& stream, const Op& op);
DIFFUSION_OPS(X)
#undef X

extern const OpTable table;

}  // namespace diffusion::cuda
