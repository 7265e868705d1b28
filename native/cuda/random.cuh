// The random numbers of core/random.h for a run of four elements of a sample (runs.cuh), which share one counter.
// Their bits equal the CPU's where a·b + c is not contracted: compile with -fmad=false.
#pragma once

#include "core/random.h"
#include "cuda/runs.cuh"

namespace diffusion::cuda {

// `first` is a multiple of four.
DEVICE Four<uint32_t> draw_words(const Generator& g, int64_t sample, int64_t first) {
  const Words w = g.words(static_cast<uint32_t>(sample), static_cast<uint32_t>(first / 4));
  return {{w.w0, w.w1, w.w2, w.w3}};
}

DEVICE Four<float> draw_normals(const Generator& g, int64_t sample, int64_t first) {
  const Normals z = normals(g.words(static_cast<uint32_t>(sample), static_cast<uint32_t>(first / 4)));
  return {{z.z0, z.z1, z.z2, z.z3}};
}

}  // namespace diffusion::cuda
