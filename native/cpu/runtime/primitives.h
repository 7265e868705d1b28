// oneDNN as the operations see it: convolutions on plain NHWC activations with HWIO weights, and a matrix product.
// Primitives are created once for each shape and kept; weights are reordered into the layout that oneDNN prefers, and
// that is kept while nobody writes them (packed_weights.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "core/backend.h"

namespace diffusion::cpu {

class Scratch;

// What a convolution keeps in which scratch slot; an operation that calls one may use the slots from kFreeSlot on.
enum ScratchSlot : int { kPackedWeights, kOneDnnScratchpad, kPackedBias, kFreeSlot };

// What the images and the weight of a convolution hold; sums, biases and gradients of weights are f32. `bf16_to_f32`:
// images and weight bf16, the result f32.
enum class Precision : int64_t { f32, bf16, bf16_to_f32 };

// The weight is [R, S, weight_c, K], of which the C rows that start at the address given are used.
struct Convolution {
  int64_t n, h, w, c, oh, ow, k, r, s, weight_c;
  int64_t stride, pad_top, pad_left, pad_bottom, pad_right;
  Precision precision;
  bool operator==(const Convolution&) const = default;
};

// A weight as an operation has it: rows of an operand, or something that is made of them when it is needed.
struct Weight {
  const View& operand;
  int64_t offset = 0;  // bytes to the first of the rows
  int64_t form = 0;    // tells what is made of the same rows apart
  std::function<const void*()> make = nullptr;

  const char* rows() const { return operand.as<char>() + offset; }
};

// Belongs to the executor thread, whose OpenMP team size must not change.
class Primitives {
 public:
  Primitives(Scratch& scratch, const OpenOptions& options);
  ~Primitives();

  // y [N, OH, OW, K] (+)= convolution of x [N, H, W, C] + bias [K]; bias may be null.
  void convolution(const Convolution& shape, const void* x, const Weight& weight, const float* bias, bool accumulate,
                   void* y);
  void convolution_backward_data(const Convolution& shape, const void* dy, const Weight& weight, void* dx);
  // dweight, dbias (+)= their gradients; dbias may be null.
  void convolution_backward_weights(const Convolution& shape, const void* x, const void* dy, float* dweight,
                                    float* dbias, bool accumulate);

  // These bytes of device memory are about to change.
  void written(const void* address, size_t bytes);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// C [m, n] = alpha · op(A) op(B) + beta · C, row-major with the leading dimensions given; op transposes where 'T'.
// Runs on the calling thread alone inside a parallel region, else on the whole team. Returns false, and does not throw,
// when oneDNN lacks memory for its own buffers.
[[nodiscard]] bool gemm(char op_a, char op_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
                        const float* b, int64_t ldb, float beta, float* c, int64_t ldc);

}  // namespace diffusion::cpu
