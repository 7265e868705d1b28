// Moving data without arithmetic.
#pragma once

#include "core/ops/check.h"

namespace diffusion {

// Every element becomes `value` (rounded to the dtype).
struct Fill {
  static constexpr const char* name = "fill";
  Out y;
  float value;
  static constexpr auto fields = std::tuple{&Fill::y, &Fill::value};
  void check() const {}
};

// y = x, converted between element types (f32 → bf16 rounds to nearest even; → integers rounds to nearest even,
// saturates, NaN becomes 0).
struct Cast {
  static constexpr const char* name = "cast";
  In x;
  Out y;
  static constexpr auto fields = std::tuple{&Cast::x, &Cast::y};
  void check() const { require<Cast>(x.size() == y.size(), "sizes differ"); }
};

// y[i_p0, i_p1, i_p2, i_p3] = x[i_0, i_1, i_2, i_3]: axis a of y is axis p_a of x. Rank 4, any element type.
struct Permute {
  static constexpr const char* name = "permute";
  In x;
  Out y;
  int32_t p0, p1, p2, p3;
  static constexpr auto fields =
      std::tuple{&Permute::x, &Permute::y, &Permute::p0, &Permute::p1, &Permute::p2, &Permute::p3};
  void check() const {
    require<Permute>(x.rank == 4 && y.rank == 4 && x.dtype == y.dtype, "x and y must have rank 4 and one element type");
    const int32_t p[4] = {p0, p1, p2, p3};
    int seen = 0;
    for (int axis = 0; axis < 4; ++axis) {
      require<Permute>(p[axis] >= 0 && p[axis] < 4, "an axis is out of range");
      require<Permute>(y.shape[axis] == x.shape[p[axis]], "y does not have the permuted shape");
      seen |= 1 << p[axis];
    }
    require<Permute>(seen == 15, "axes repeat");
  }
};

// y = [a, b] along the last axis, f32 or bf16; Split is its inverse and its backward.
struct Concat {
  static constexpr const char* name = "concat";
  In a, b;
  Out y;
  static constexpr auto fields = std::tuple{&Concat::a, &Concat::b, &Concat::y};
  void check() const {
    require_one_float<Concat>(a, b, y);
    require<Concat>(a.rank >= 1 && b.rank >= 1 && y.rank >= 1 && a.rows() == b.rows() && a.rows() == y.rows() &&
                        y.channels() == a.channels() + b.channels(),
                    "a, b and y do not match");
  }
};

struct Split {
  static constexpr const char* name = "split";
  In y;
  Out a, b;
  static constexpr auto fields = std::tuple{&Split::y, &Split::a, &Split::b};
  void check() const {
    require_one_float<Split>(a, b, y);
    require<Split>(a.rank >= 1 && b.rank >= 1 && y.rank >= 1 && a.rows() == b.rows() && a.rows() == y.rows() &&
                       y.channels() == a.channels() + b.channels(),
                   "a, b and y do not match");
  }
};

}  // namespace diffusion
