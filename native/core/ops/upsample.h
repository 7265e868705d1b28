// Nearest-neighbour enlargement by 2, f32 or bf16 (sums in f32).   y[n, 2h + i, 2w + j, c] = x[n, h, w, c];  backward:
// dx = Σ_ij dy[n, 2h + i, 2w
// + j, c]
#pragma once

#include "core/ops/check.h"

namespace diffusion {

template <class Op>
void check_upsample(const View& small, const View& large) {
  require_one_float<Op>(small, large);
  require<Op>(small.rank == 4 && large.rank == 4 && large.shape[0] == small.shape[0] &&
                  large.shape[1] == 2 * small.shape[1] && large.shape[2] == 2 * small.shape[2] &&
                  large.shape[3] == small.shape[3],
              "the larger image must have twice the height and width");
}

struct Upsample {
  static constexpr const char* name = "upsample";
  In x;
  Out y;
  static constexpr auto fields = std::tuple{&Upsample::x, &Upsample::y};
  void check() const { check_upsample<Upsample>(x, y); }
};

struct UpsampleBackward {
  static constexpr const char* name = "upsampleBackward";
  In dy;
  Out dx;
  static constexpr auto fields = std::tuple{&UpsampleBackward::dy, &UpsampleBackward::dx};
  void check() const { check_upsample<UpsampleBackward>(dx, dy); }
};

}  // namespace diffusion
