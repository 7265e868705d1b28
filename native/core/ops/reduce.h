// Sums, means and the mean squared error. Deterministic: the order of additions depends on the shape alone.
#pragma once

#include "core/ops/check.h"

namespace diffusion {

// y[0] = mean of x.     x f32 or bf16, y f32
struct Mean {
  static constexpr const char* name = "mean";
  In x;
  Out y;
  static constexpr auto fields = std::tuple{&Mean::x, &Mean::y};
  void check() const {
    require_one_float<Mean>(x);
    require_f32<Mean>(y);
    require<Mean>(y.size() == 1 && x.size() >= 1, "y must hold one value");
  }
};

// dx[i] = dy[0] / size.     dy f32, dx f32 or bf16
struct MeanBackward {
  static constexpr const char* name = "meanBackward";
  In dy;
  Out dx;
  static constexpr auto fields = std::tuple{&MeanBackward::dy, &MeanBackward::dx};
  void check() const {
    require_f32<MeanBackward>(dy);
    require_one_float<MeanBackward>(dx);
    require<MeanBackward>(dy.size() == 1, "dy must hold one value");
  }
};

// y[n, c] = Σ over the pixels of x[n, ..., c].     x f32 or bf16, y f32
struct SumPixels {
  static constexpr const char* name = "sumPixels";
  In x;
  Out y;
  static constexpr auto fields = std::tuple{&SumPixels::x, &SumPixels::y};
  void check() const {
    require_one_float<SumPixels>(x);
    require_f32<SumPixels>(y);
    require<SumPixels>(x.rank >= 2 && y.size() == x.shape[0] * x.channels(), "y must be [N, C]");
  }
};

// loss[n] = mean over the sample of (prediction − target)²
struct MseLoss {
  static constexpr const char* name = "mseLoss";
  In prediction, target;
  Out loss;
  static constexpr auto fields = std::tuple{&MseLoss::prediction, &MseLoss::target, &MseLoss::loss};
  void check() const {
    require_f32<MseLoss>(prediction, target, loss);
    require<MseLoss>(prediction.rank >= 1 && prediction.size() == target.size() && loss.size() == prediction.shape[0],
                     "sizes do not match");
  }
};

// dprediction = dloss[n] · 2(prediction − target)/size of a sample
struct MseLossBackward {
  static constexpr const char* name = "mseLossBackward";
  In prediction, target, dloss;
  Out dprediction;
  static constexpr auto fields = std::tuple{&MseLossBackward::prediction, &MseLossBackward::target,
                                            &MseLossBackward::dloss, &MseLossBackward::dprediction};
  void check() const {
    require_f32<MseLossBackward>(prediction, target, dloss, dprediction);
    require<MseLossBackward>(prediction.rank >= 1 && prediction.size() == target.size() &&
                                 prediction.size() == dprediction.size() && dloss.size() == prediction.shape[0],
                             "sizes do not match");
  }
};

}  // namespace diffusion
