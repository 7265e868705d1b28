// The bound of dynamic thresholding (Saharia et al. 2022, section 2.3).
#pragma once

#include "core/ops/reverse_step.h"

namespace diffusion {

// bound[n] = the quantile `ratio` of |x0| over sample n, within [1, max]; x0 = px·x + pm·m as in ReverseStep, of which
// it takes output, unconditional, guidance, x, t and table. Between two values in order the quantile is linear; it is
// NaN where an x0 is.     bound [N]
struct Threshold {
  static constexpr const char* name = "threshold";
  In output;
  OptIn unconditional;
  In x, t, table;
  Out bound;
  float guidance, ratio, max;
  static constexpr auto fields =
      std::tuple{&Threshold::output, &Threshold::unconditional, &Threshold::x,     &Threshold::t,  &Threshold::table,
                 &Threshold::bound,  &Threshold::guidance,      &Threshold::ratio, &Threshold::max};
  int64_t untouched() const { return untouched_rows(table, t.size()); }
  void check() const {
    require_f32<Threshold>(output, unconditional, x, table, bound);
    require_dtype<Threshold>(t, DType::i32, "t");
    require<Threshold>(
        x.rank >= 1 && x.size() >= 1 && is_output(output, x, Variance::fixed) && has_size(unconditional, output.size()),
        "output does not have the channels of x, or twice as many");
    require<Threshold>(t.size() == x.shape[0] && bound.size() == x.shape[0] && table.rank == 2 &&
                           table.shape[1] == ReverseStep::kColumns,
                       "t, table or bound does not match");
    require<Threshold>(ratio >= 0.0f && ratio <= 1.0f && max >= 1.0f, "ratio or max is out of range");
  }
};

// Where the quantile of `size` values in order lies: `share` of the way from number `below` to the next.
struct QuantilePlace {
  int64_t below;
  double share;

  DIFFUSION_HD QuantilePlace(float ratio, int64_t size) {
    const double place = static_cast<double>(ratio) * static_cast<double>(size - 1);
    below = static_cast<int64_t>(place);
    share = place - static_cast<double>(below);
  }
  DIFFUSION_HD float bound(float low, float high, float max) const {
    const double quantile = share == 0.0 ? low : low + share * (static_cast<double>(high) - low);
    return quantile < 1.0 ? 1.0f : quantile > max ? max : static_cast<float>(quantile);
  }
};

}  // namespace diffusion
