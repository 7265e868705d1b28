// Several affine maps of the same rows at once: what each residual block makes of the time embedding.
//   y_b[n, k] = bias_b[k] + Σ_c x[n, c] · weight_b[c, k]     b = 0 … B − 1, k < K_b
//   x [N, C]     values: every weight_b [C, K_b] and bias_b [K_b], wherever in it
//   groups i32 [B, 3]: for each map the first element of its weight and of its bias in values, and K_b
//   y [N · Σ_b K_b]: the results [N, K_b] one after another
//   all f32     A map that does not fit its tensors: Error(option) on the CPU, left out on a GPU
#pragma once

#include "core/ops/check.h"

namespace diffusion {

struct LinearGroupMap {
  int64_t weight, bias, columns;
  int64_t first;  // Σ K of the maps before it

  DIFFUSION_HD static LinearGroupMap read(const int32_t* groups, int64_t b, int64_t first) {
    return {groups[3 * b], groups[3 * b + 1], groups[3 * b + 2], first};
  }
  // Whether it lies within `size` values and, as to its results, within `total` columns.
  DIFFUSION_HD bool fits(int64_t c, int64_t size, int64_t total) const {
    return columns >= 0 && first + columns <= total && weight >= 0 && weight + c * columns <= size && bias >= 0 &&
           bias + columns <= size;
  }
};

template <class Op>
void check_linear_group(const View& x, const View& values, const View& groups, const View& y) {
  require_f32<Op>(x, values, y);
  require_dtype<Op>(groups, DType::i32, "groups");
  require<Op>(x.rank == 2 && x.shape[0] >= 1 && y.size() % x.shape[0] == 0, "x must be [N, C], y [N·K]");
  require<Op>(groups.rank == 2 && groups.shape[1] == 3, "groups must be [B, 3]");
}

// Of all maps, and of each of their gradients.     x [N, C], y [N·ΣK]
inline double linear_group_flops(const View& x, const View& y) {
  return 2.0 * static_cast<double>(x.shape[1]) * static_cast<double>(y.size());
}

// Bytes of `values` in which no weight and no bias lies; the maps of a group do not share any.
inline int64_t untouched_values(const View& x, const View& values, const View& y, bool with_biases) {
  const int64_t columns = y.size() / x.shape[0], inputs = x.shape[1] + (with_biases ? 1 : 0);
  const int64_t used = columns * inputs * static_cast<int64_t>(sizeof(float));
  return used < values.bytes() ? values.bytes() - used : 0;
}

struct LinearGroup {
  static constexpr const char* name = "linearGroup";
  In x, values, groups;
  Out y;
  static constexpr auto fields =
      std::tuple{&LinearGroup::x, &LinearGroup::values, &LinearGroup::groups, &LinearGroup::y};

  double flops() const { return linear_group_flops(x, y); }
  int64_t untouched() const { return untouched_values(x, values, y, true); }
  void check() const { check_linear_group<LinearGroup>(x, values, groups, y); }
};

//   dx[n, c] = Σ_b Σ_k dy_b[n, k] · weight_b[c, k]
struct LinearGroupBackwardData {
  static constexpr const char* name = "linearGroupBackwardData";
  In dy, values, groups;
  Out dx;
  static constexpr auto fields = std::tuple{&LinearGroupBackwardData::dy, &LinearGroupBackwardData::values,
                                            &LinearGroupBackwardData::groups, &LinearGroupBackwardData::dx};

  double flops() const { return linear_group_flops(dx, dy); }
  int64_t untouched() const { return untouched_values(dx, values, dy, false); }
  void check() const { check_linear_group<LinearGroupBackwardData>(dx, values, groups, dy); }
};

//   dweight_b[c, k] (+)= Σ_n x[n, c] · dy_b[n, k],  dbias_b[k] (+)= Σ_n dy_b[n, k]
//   dvalues: laid out like values; what belongs to no map is left as it is
struct LinearGroupBackwardWeights {
  static constexpr const char* name = "linearGroupBackwardWeights";
  In x, dy, groups;
  InOut dvalues;
  bool accumulate;
  static constexpr auto fields =
      std::tuple{&LinearGroupBackwardWeights::x, &LinearGroupBackwardWeights::dy, &LinearGroupBackwardWeights::groups,
                 &LinearGroupBackwardWeights::dvalues, &LinearGroupBackwardWeights::accumulate};

  double flops() const { return linear_group_flops(x, dy); }
  int64_t untouched() const { return (accumulate ? 2 : 1) * untouched_values(x, dvalues, dy, true); }
  void check() const { check_linear_group<LinearGroupBackwardWeights>(x, dvalues, groups, dy); }
};

}  // namespace diffusion
