// Sums and products of tensors of which one is repeated, and sums over what was repeated. f32, or bf16 with arithmetic
// in f32. A tensor repeats along axes of one element, and along axes that it lacks in front.
#pragma once

#include "core/ops/check.h"
#include "core/strides.h"

namespace diffusion {

// y = alpha·a + beta·b, or where `product`: y = alpha·a·b; without b: y = alpha·a. a and b repeat to the shape of y.
// Beside bf16, b may hold f32. y may be a or b where that has its shape.
struct Broadcast {
  static constexpr const char* name = "broadcast";
  In a;
  OptIn b;
  Out y;
  bool product;
  float alpha, beta;
  static constexpr auto fields =
      std::tuple{&Broadcast::a, &Broadcast::b, &Broadcast::y, &Broadcast::product, &Broadcast::alpha, &Broadcast::beta};
  Strides<3> strides() const { return strides_of<3>(y.shape, y.rank, {&a, &b, &y}); }
  void check() const {
    require_one_float<Broadcast>(a, y);
    if (b.dtype != DType::f32) require_dtype<Broadcast>(b, y.dtype, "an operand");
    require<Broadcast>(repeats_to(a, y.shape, y.rank) && (!b || repeats_to(b, y.shape, y.rank)),
                       "a or b does not repeat to the shape of y");
  }
};

// y = scale · Σ x·z over the axes along which y repeats to the shape of x; without z: scale · Σ x. z repeats to the
// shape of x. x bf16: z the same or f32, y the same or f32. Sums in f64, in an order that the shapes decide.
struct ReduceSum {
  static constexpr const char* name = "reduceSum";
  In x;
  OptIn z;
  Out y;
  float scale;
  static constexpr auto fields = std::tuple{&ReduceSum::x, &ReduceSum::z, &ReduceSum::y, &ReduceSum::scale};
  void check() const {
    require_one_float<ReduceSum>(x);
    if (z.dtype != DType::f32) require_dtype<ReduceSum>(z, x.dtype, "an operand");
    if (y.dtype != DType::f32) require_dtype<ReduceSum>(y, x.dtype, "an operand");
    require<ReduceSum>(repeats_to(y, x.shape, x.rank) && (!z || repeats_to(z, x.shape, x.rank)),
                       "y or z does not repeat to the shape of x");
  }
};

}  // namespace diffusion
