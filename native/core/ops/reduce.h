// Sums, means and the losses that are means. Deterministic: the order of additions depends on the shape alone.
#pragma once

#include "core/ops/process.h"

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

// What a difference d costs: d², |d|, or ½d² up to |d| = 1 and |d| − ½ from there (Huber 1964).
enum class Loss : int32_t { squared = 0, absolute = 1, huber = 2 };

// loss[n] = mean over the sample of what prediction − target costs
//   target [N, ..., C]     prediction alike, or [N, ..., 2C], of which the second half is ignored (variance channels)
struct MseLoss {
  static constexpr const char* name = "mseLoss";
  In prediction, target;
  Out loss;
  Loss kind;
  static constexpr auto fields = std::tuple{&MseLoss::prediction, &MseLoss::target, &MseLoss::loss, &MseLoss::kind};
  void check() const {
    require_f32<MseLoss>(prediction, target, loss);
    require<MseLoss>(
        target.rank >= 1 && is_output(prediction, target, Variance::fixed) && loss.size() == target.shape[0],
        "sizes do not match");
  }
};

// dprediction = dloss[n] · {2d, sign d, d within [−1, 1]} / size of a sample of target;  0 in what is ignored
struct MseLossBackward {
  static constexpr const char* name = "mseLossBackward";
  In prediction, target, dloss;
  Out dprediction;
  Loss kind;
  static constexpr auto fields =
      std::tuple{&MseLossBackward::prediction, &MseLossBackward::target, &MseLossBackward::dloss,
                 &MseLossBackward::dprediction, &MseLossBackward::kind};
  void check() const {
    require_f32<MseLossBackward>(prediction, target, dloss, dprediction);
    require<MseLossBackward>(target.rank >= 1 && is_output(prediction, target, Variance::fixed) &&
                                 prediction.size() == dprediction.size() && dloss.size() == target.shape[0],
                             "sizes do not match");
  }
};

}  // namespace diffusion
