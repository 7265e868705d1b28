// Group normalisation, backward (core/ops/group_norm.h). With dz the gradient of (x − mean)·a + b, per channel A = Σ
// dz, B = Σ dz·x̂, w = gamma·(1 + scale):
//   pass 1: dz (kept in f32: in dx, or beside it where that holds bf16), A, B
//   pass 2: dx = rstd·(w·dz − Σ_group w·A/M − x̂·Σ_group w·B/M)
//   Sums of a block in f32, everything above a block in f64, in the order of blocks, channels, samples.
#include "core/ops/group_norm.h"
#include "cpu/float_types.h"
#include "cpu/group_norm_affine.h"
#include "cpu/ops.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

enum Slot { kPartial, kThreadRows, kGradients, kDifferentials };

// Where dz lies between the passes, of a source and a position in it.
template <class T>
class Differentials {
 public:
  Differentials(Stream& stream, const GroupNormPlan& plan, T* const (&outputs)[2])
      : plan_(plan), outputs_(outputs), by_thread_(plan.by_samples(stream)) {
    if constexpr (!std::is_same_v<T, float>)
      room_ = stream.scratch.floats(kDifferentials,
                                    static_cast<size_t>((by_thread_ ? stream.threads : plan.n) * plan.pixels * plan.c));
  }
  float* operator()(int64_t n, int s, int64_t at) const {
    if constexpr (std::is_same_v<T, float>) {
      return outputs_[s] + at;
    } else {
      const auto [channels, offset] = plan_.sources[s];
      const int64_t sample = by_thread_ ? omp_get_thread_num() : n;
      return room_ + plan_.pixels * (sample * plan_.c + offset - n * channels) + at;
    }
  }

 private:
  const GroupNormPlan& plan_;
  T* const (&outputs_)[2];
  bool by_thread_;
  float* room_ = nullptr;
};

template <class T>
void differentiate(Stream& stream, const GroupNormBackward& op) {
  const GroupNormPlan plan(op.x, op.x2, op.groups);
  const Tail tail = tail_of(op);
  const auto differentiate_row = group_norm_rows::differentiate_for<T>(tail);
  const Generator g = resolve(op.rng);
  const T* inputs[2] = {op.x.as<T>(), op.x2.as<T>()};
  T* outputs[2] = {op.dx.as<T>(), op.dx2.as<T>()};
  const int64_t c = plan.c, group = c / plan.groups;
  // partial[n, block, {Σ dz, Σ dz·(x − mean)}, C], gradients[n, {dgamma, dbeta}, C]
  auto* partial = static_cast<double*>(stream.scratch.get(kPartial, sizeof(double) * plan.n * plan.blocks * 2 * c));
  auto* gradients = static_cast<double*>(stream.scratch.get(kGradients, sizeof(double) * plan.n * 2 * c));
  const Differentials<T> dz_of(stream, plan, outputs);
  enum { kCentre, kSlope, kOffset, kSum, kProduct, kPull, kLift, kRows };
  const ThreadRows rows(stream, kThreadRows, plan, kRows);

  const auto coefficients = [&](int64_t n) {
    for (int64_t k = 0; k < c; ++k) {
      const float* stats = op.stats.f32() + (n * plan.groups + k / group) * 2;
      rows[kCentre][k] = stats[0];
      set_affine(op, n, c, k, stats[0], stats[1], stats[0], rows[kSlope] + k, rows[kOffset] + k);
    }
    for (int i : {kCentre, kSlope, kOffset}) repeat(plan, rows[i]);
  };

  const auto differentiate_block = [&](int64_t n, int64_t block) {
    const Affine z_of{rows[kCentre], rows[kSlope], rows[kOffset]};
    float *sum = rows[kSum], *product = rows[kProduct];
    std::fill(sum, sum + plan.row, 0.0f);
    std::fill(product, product + plan.row, 0.0f);
    plan.for_stretches(block, [&](int64_t pixel, int64_t count) {
      const uint32_t* words = draw(plan, tail, g, n, pixel, count, rows.words());
      for_rows(plan, n, pixel, count, [&](int s, int64_t from, int64_t to, int64_t word, int64_t length) {
        const int64_t offset = plan.sources[s].offset;
        differentiate_row(tail, z_of + offset, words + word, op.dy.as<T>() + to, inputs[s] + from, dz_of(n, s, from),
                          sum + offset, product + offset, length);
      });
    });
    double* sums = partial + (n * plan.blocks + block) * 2 * c;
    for (int64_t k = 0; k < c; ++k) {
      sums[k] = fold_channel(plan, sum, k);
      sums[c + k] = fold_channel(plan, product, k);
    }
  };

  const auto pulls = [&](int64_t n, bool owner) {
    const double* sums = partial + n * plan.blocks * 2 * c;
    const float* scale_shift = op.scale_shift ? op.scale_shift.f32() + n * 2 * c : nullptr;
    for (int64_t j = 0; j < plan.groups; ++j) {
      const double rstd = op.stats.f32()[(n * plan.groups + j) * 2 + 1];
      double mean = 0, correlation = 0;  // of w·dz and of w·dz·x̂
      for (int64_t k = j * group; k < (j + 1) * group; ++k) {
        double a = 0, b = 0;
        for (int64_t block = 0; block < plan.blocks; ++block) {
          a += sums[block * 2 * c + k];
          b += sums[block * 2 * c + c + k];
        }
        b *= rstd;
        const double factor = scale_shift ? 1.0 + static_cast<double>(scale_shift[k]) : 1.0;
        const double gamma = op.gamma.f32()[k];
        mean += gamma * factor * a;
        correlation += gamma * factor * b;
        if (!owner) continue;
        gradients[n * 2 * c + k] = factor * b;
        gradients[n * 2 * c + c + k] = factor * a;
        if (!scale_shift) continue;
        float* dscale_shift = op.dscale_shift.f32() + n * 2 * c;
        dscale_shift[k] = static_cast<float>(gamma * b + static_cast<double>(op.beta.f32()[k]) * a);
        dscale_shift[c + k] = static_cast<float>(a);
      }
      for (int64_t k = j * group; k < (j + 1) * group; ++k) {
        rows[kPull][k] = static_cast<float>(rstd * rstd * correlation / plan.group_size());
        rows[kLift][k] = static_cast<float>(rstd * mean / plan.group_size());
      }
    }
    for (int i : {kPull, kLift}) repeat(plan, rows[i]);
  };

  const auto finish_block = [&](int64_t n, int64_t block) {
    const Affine z_of{rows[kCentre], rows[kSlope], rows[kOffset]};
    for_rows(plan, n, plan.first_pixel(block), plan.pixels_of(block),
             [&](int s, int64_t from, int64_t, int64_t, int64_t length) {
               const int64_t offset = plan.sources[s].offset;
               group_norm_rows::finish_row(z_of + offset, rows[kPull] + offset, rows[kLift] + offset, inputs[s] + from,
                                           dz_of(n, s, from), outputs[s] + from, length);
             });
  };

  two_passes(stream, plan, coefficients, differentiate_block, pulls, finish_block);

  float *dgamma = op.dgamma.f32(), *dbeta = op.dbeta.f32();
  for (int64_t k = 0; k < c; ++k) {
    double gamma = op.accumulate ? dgamma[k] : 0.0, beta = op.accumulate ? dbeta[k] : 0.0;
    for (int64_t n = 0; n < plan.n; ++n) {
      gamma += gradients[n * 2 * c + k];
      beta += gradients[n * 2 * c + c + k];
    }
    dgamma[k] = static_cast<float>(gamma);
    dbeta[k] = static_cast<float>(beta);
  }
}

}  // namespace

void group_norm_backward(Stream& stream, const GroupNormBackward& op) {
  with_float(op.x.dtype, [&](auto type) { differentiate<decltype(type)>(stream, op); });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
