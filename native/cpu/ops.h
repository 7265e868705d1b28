// The operations of the CPU backend. Every file of this folder is compiled once for each instruction set, with
// DIFFUSION_ISA naming the level (v2, v3, v4 of x86-64, or native_isa); backend.cc picks one table at run time.
#pragma once

#include "core/ops/ops.h"
#include "cpu/runtime/stream.h"

namespace diffusion::cpu {

struct OpTable {
#define X(Op, function) void (*function)(Stream&, const Op&);
  DIFFUSION_OPS(X)
#undef X
};

namespace DIFFUSION_ISA {
#define X(Op, function) void function(Stream& stream, const Op& op);
DIFFUSION_OPS(X)
#undef X

extern const OpTable table;
}  // namespace DIFFUSION_ISA

}  // namespace diffusion::cpu
