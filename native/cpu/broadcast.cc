// Sums and products with repeated tensors, and sums over axes (core/ops/broadcast.h).
#include "core/ops/broadcast.h"

#include "cpu/float_types.h"
#include "cpu/ops.h"
#include "cpu/parallel.h"
#include "cpu/sum.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

constexpr int64_t kPiece = 8192, kStrip = 1024, kBlockRows = 256;

// y[i] = f(a[i or 0], b[i or 0]), compiled for each of the cases.
template <class T, class B, class F>
void combine_row(const T* a, bool a_moves, const B* b, bool b_moves, T* y, int64_t count, const F& f) {
  if (a_moves && b_moves) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) y[i] = convert<T>(f(widen(a[i]), widen(b[i])));
  } else if (a_moves) {
    const float value = widen(*b);
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) y[i] = convert<T>(f(widen(a[i]), value));
  } else if (b_moves) {
    const float value = widen(*a);
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) y[i] = convert<T>(f(value, widen(b[i])));
  } else {
    std::fill(y, y + count, convert<T>(f(widen(*a), widen(*b))));
  }
}

template <class T, class B, class F>
void combine(const Stream& stream, const Broadcast& op, const F& f) {
  const Strides<3> walk = op.strides();
  const int32_t last = walk.rank - 1;
  const int64_t inner = walk.size[last], pieces = (inner + kPiece - 1) / kPiece;
  if (op.y.size() == 0) return;
  static const B nothing{};
  parallel_for(stream, op.y.size() / inner * pieces, grain_of(std::min(inner, kPiece)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t item = begin; item < end; ++item) {
                   int64_t at[3];
                   walk.offsets(item / pieces, last, at);
                   const int64_t first = item % pieces * kPiece;
                   const bool a_moves = walk.stride[0][last] != 0, b_moves = walk.stride[1][last] != 0;
                   const B* b = op.b ? op.b.as<B>() + at[1] + (b_moves ? first : 0) : &nothing;
                   combine_row(op.a.as<T>() + at[0] + (a_moves ? first : 0), a_moves, b, b_moves,
                               op.y.as<T>() + at[2] + first, std::min(kPiece, inner - first), f);
                 }
               });
}

template <class T, class B>
void broadcast_of(const Stream& stream, const Broadcast& op) {
  const float alpha = op.alpha, beta = op.beta;
  if (!op.b)
    combine<T, B>(stream, op, [=](float a, float) { return alpha * a; });
  else if (op.product)
    combine<T, B>(stream, op, [=](float a, float b) { return alpha * (a * b); });
  else
    combine<T, B>(stream, op, [=](float a, float b) { return alpha * a + beta * b; });
}

// ------------------------------------------------------------------------------------------------------- sums over
// axes

// f(offset of x, offset of z) for the rows of a block.
template <class F>
void for_block_rows(const ReducePlan& plan, const int64_t (&base)[3], int64_t first, int64_t last, const F& f) {
  for (int64_t row = first; row < last; ++row) {
    int64_t at[3];
    plan.reduced.offsets(row, plan.reduced.rank, at);
    f(base[0] + at[0], base[1] + at[1]);
  }
}

// partial[block, output, column] = Σ over the rows of the block
template <class T, class Z>
void sum_columns(const Stream& stream, const ReduceSum& op, const ReducePlan& plan, double* partial) {
  const int64_t strips = (plan.inner + kStrip - 1) / kStrip;
  const int64_t work = std::min(plan.rows, plan.block_rows) * std::min(plan.inner, kStrip);
  parallel_for(stream, plan.blocks * plan.outputs * strips, grain_of(work), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item % strips * kStrip, count = std::min(kStrip, plan.inner - first);
      const int64_t output = item / strips % plan.outputs, block = item / strips / plan.outputs;
      int64_t base[3];
      plan.kept.offsets(output, plan.kept.rank, base);
      double* sum = partial + (block * plan.outputs + output) * plan.inner + first;
      std::fill(sum, sum + count, 0.0);
      const int64_t row = block * plan.block_rows;
      for_block_rows(plan, base, row, std::min(plan.rows, row + plan.block_rows), [&](int64_t x_at, int64_t z_at) {
        const T* x = op.x.as<T>() + x_at + first;
        if (!op.z) {
#pragma omp simd
          for (int64_t i = 0; i < count; ++i) sum[i] += static_cast<double>(widen(x[i]));
        } else if (plan.z_moves) {
          const Z* z = op.z.as<Z>() + z_at + first;
#pragma omp simd
          for (int64_t i = 0; i < count; ++i) sum[i] += static_cast<double>(widen(x[i]) * widen(z[i]));
        } else {
          const float z = widen(op.z.as<Z>()[z_at]);
#pragma omp simd
          for (int64_t i = 0; i < count; ++i) sum[i] += static_cast<double>(widen(x[i]) * z);
        }
      });
    }
  });
}

// partial[block, output]
template <class T, class Z>
void sum_rows(const Stream& stream, const ReduceSum& op, const ReducePlan& plan, double* partial) {
  const int64_t work = std::min(plan.rows, plan.block_rows) * plan.piece;
  parallel_for(stream, plan.blocks * plan.outputs, grain_of(work), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t output = item % plan.outputs, block = item / plan.outputs;
      int64_t base[3];
      plan.kept.offsets(output, plan.kept.rank, base);
      const bool cut = plan.pieces > 1;
      const int64_t row = cut ? block / plan.pieces : block * plan.block_rows;
      const int64_t first = cut ? block % plan.pieces * plan.piece : 0;
      const int64_t last = std::min(plan.inner, first + plan.piece);
      double sum = 0;
      for_block_rows(plan, base, row, std::min(plan.rows, row + plan.block_rows), [&](int64_t x_at, int64_t z_at) {
        const T* x = op.x.as<T>() + x_at;
        const Z* z = op.z ? op.z.as<Z>() + z_at : nullptr;
        if (!z)
          sum += sum_terms(first, last, [x](int64_t i) { return static_cast<double>(widen(x[i])); });
        else if (plan.z_moves)
          sum += sum_terms(first, last, [x, z](int64_t i) { return static_cast<double>(widen(x[i]) * widen(z[i])); });
        else
          sum += static_cast<double>(widen(*z)) *
                 sum_terms(first, last, [x](int64_t i) { return static_cast<double>(widen(x[i])); });
      });
      partial[item] = sum;
    }
  });
}

template <class T, class Z>
void reduce(Stream& stream, const ReduceSum& op) {
  const ReducePlan plan(op.x, op.z, op.y, kSumBlock, kBlockRows);
  const int64_t inner = plan.columns ? plan.inner : 1, results = plan.outputs * inner;
  if (results == 0) return;
  auto* partial = static_cast<double*>(stream.scratch.get(0, plan.blocks * results * sizeof(double)));
  if (plan.columns)
    sum_columns<T, Z>(stream, op, plan, partial);
  else
    sum_rows<T, Z>(stream, op, plan, partial);
  with_float(op.y.dtype, [&](auto type) {
    using Y = decltype(type);
    const double scale = op.scale;
    parallel_for(stream, results, grain_of(plan.blocks), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        double sum = 0;
        for (int64_t block = 0; block < plan.blocks; ++block) sum += partial[block * results + i];
        op.y.as<Y>()[i] = convert<Y>(static_cast<float>(scale * sum));  // y is dense and in the order of its axes
      }
    });
  });
}

// f(the element type of the first operand, that of the second)
template <class F>
void with_floats(DType first, DType second, const F& f) {
  with_float(first, [&](auto one) { with_float(second, [&](auto two) { f(one, two); }); });
}

}  // namespace

void broadcast(Stream& stream, const Broadcast& op) {
  with_floats(op.y.dtype, op.b ? op.b.dtype : DType::f32,
              [&](auto type, auto other) { broadcast_of<decltype(type), decltype(other)>(stream, op); });
}

void reduce_sum(Stream& stream, const ReduceSum& op) {
  with_floats(op.x.dtype, op.z ? op.z.dtype : DType::f32,
              [&](auto type, auto other) { reduce<decltype(type), decltype(other)>(stream, op); });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
