// Gradients of bf16 filters, divided among the threads so that none waits for another.
//
// oneDNN's own division has the threads meet at spinning barriers, many a call: where another process keeps one of two
// cores busy, a bf16 training step takes 30 times as long. Parts that share nothing take 3 times as long there (Zen 5,
// oneDNN 2.6); what they cost on quiet cores stands beside the choice between the two kinds of parts.
#pragma once

#include <memory>

#include "cpu/runtime/primitives.h"

namespace dnnl {
struct engine;
}

namespace diffusion::cpu {

class SplitWeights {
 public:
  SplitWeights(const dnnl::engine& engine, Scratch& scratch);
  ~SplitWeights();

  // Whether images or output channels divide into a part for each thread of the team.
  static bool takes(const Convolution& shape);

  // As Primitives::convolution_backward_weights, of a shape that it takes. Throws dnnl::error and Error(out_of_memory).
  void gradient(const Convolution& shape, const void* x, const void* dy, float* dweight, float* dbias, bool accumulate);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace diffusion::cpu
