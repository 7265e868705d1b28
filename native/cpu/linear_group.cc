#include "core/ops/linear_group.h"

#include "cpu/linear.h"
#include "cpu/ops.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

// f(map) for each map in order.
template <class Op, class F>
void for_each_map(const View& groups, int64_t c, const View& values, int64_t total, const F& f) {
  int64_t first = 0;
  for (int64_t b = 0; b < groups.shape[0]; ++b) {
    const LinearGroupMap map = LinearGroupMap::read(groups.i32(), b, first);
    if (!map.fits(c, values.size(), total)) fail(code::option, "%s: a map does not fit its tensors", Op::name);
    f(map);
    first += map.columns;
  }
  if (first != total) fail(code::option, "%s: the maps do not cover the results", Op::name);
}

}  // namespace

void linear_group(Stream& stream, const LinearGroup& op) {
  const int64_t n = op.x.shape[0], c = op.x.shape[1];
  const float* const values = op.values.f32();
  for_each_map<LinearGroup>(op.groups, c, op.values, op.y.size() / n, [&](const LinearGroupMap& map) {
    const int64_t k = map.columns;
    matmul(stream,
           {n, c, k, op.x.f32(), c, 1, values + map.weight, k, op.y.f32() + n * map.first, k, values + map.bias});
  });
}

void linear_group_backward_data(Stream& stream, const LinearGroupBackwardData& op) {
  const int64_t n = op.dx.shape[0], c = op.dx.shape[1];
  float* const dx = op.dx.f32();
  std::fill_n(dx, n * c, 0.0f);
  for_each_map<LinearGroupBackwardData>(op.groups, c, op.values, op.dy.size() / n, [&](const LinearGroupMap& map) {
    const int64_t k = map.columns;
    float* const transposed = stream.scratch.floats(kFreeSlot, static_cast<size_t>(c * k));
    transpose(stream, op.values.f32() + map.weight, c, k, transposed);
    matmul(stream, {n, k, c, op.dy.f32() + n * map.first, k, 1, transposed, c, dx, c, nullptr, dx});
  });
}

void linear_group_backward_weights(Stream& stream, const LinearGroupBackwardWeights& op) {
  const int64_t n = op.x.shape[0], c = op.x.shape[1];
  float* const dvalues = op.dvalues.f32();
  for_each_map<LinearGroupBackwardWeights>(op.groups, c, op.dvalues, op.dy.size() / n, [&](const LinearGroupMap& map) {
    const int64_t k = map.columns;
    const float* const dy = op.dy.f32() + n * map.first;
    weight_gradient(LinearGroupBackwardWeights::name, n, c, k, op.x.f32(), dy, op.accumulate, dvalues + map.weight);
    sum_rows(stream, dy, n, k, op.accumulate, dvalues + map.bias);
  });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
