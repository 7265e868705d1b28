// Sums and products with repeated tensors, and sums over axes (core/ops/broadcast.h).
//   a, b repeat to the shape of y; y and z to that of x. f32 or bf16, b, z and the sums also f32 beside bf16
//   broadcast: a thread for every 16 bytes of the last axis; every operand is read once, the repeated ones from the
//   caches sums, last axis kept: a block for every 256 rows and up to 512 bytes of columns; else a warp for every 2048
//   elements of a sum; then a thread, or a warp, adds the blocks of a result in f64, in their order
#include "core/ops/broadcast.h"
#include "cuda/dispatch.cuh"
#include "cuda/ops.h"
#include "cuda/row_team.cuh"
#include "cuda/runs.cuh"

namespace diffusion::cuda {
namespace {

// n values from `from` on, or n times the one there.
template <int n, class T>
DEVICE Pack<float, n> load_or_repeat(const T* from, bool moves, int count, bool whole) {
  if (moves) return load_floats<n>(from, count, whole);
  Pack<float, n> pack;
  const float value = to_float(*from);
  for (int k = 0; k < n; ++k) pack.at[k] = value;
  return pack;
}

enum class Form { scaled, sum, product };

template <class T, class B, Form form>
struct Combine {
  static constexpr int n = kPack<T, B>;
  Strides<3> walk;
  const T* a;
  const B* b;
  T* y;
  float alpha, beta;
  bool a_moves, b_moves, whole;

  struct At {
    int64_t a, b, y;
  };
  DEVICE At of_row(int64_t row) const {
    int64_t offset[3];
    walk.offsets(row, walk.rank - 1, offset);
    return {offset[0], offset[1], offset[2]};
  }
  DEVICE void operator()(const At& at, int64_t, int64_t i, int count) const {
    Pack<float, n> value = load_or_repeat<n>(a + at.a + (a_moves ? i : 0), a_moves, count, whole);
    if constexpr (form == Form::scaled) {
      for (int k = 0; k < n; ++k) value.at[k] *= alpha;
    } else {
      const Pack<float, n> other = load_or_repeat<n>(b + at.b + (b_moves ? i : 0), b_moves, count, whole);
      for (int k = 0; k < n; ++k)
        value.at[k] =
            form == Form::product ? alpha * (value.at[k] * other.at[k]) : alpha * value.at[k] + beta * other.at[k];
    }
    store(y + at.y + i, count, whole, value);
  }
};

template <Form form, class T, class B>
void combine(Stream& stream, const Broadcast& op) {
  constexpr int n = kPack<T, B>;
  if (op.y.size() == 0) return;
  const Strides<3> walk = op.strides();
  const int32_t last = walk.rank - 1;
  const int64_t width = walk.size[last], rows = op.y.size() / width;
  const bool a_moves = walk.stride[0][last] != 0, b_moves = walk.stride[1][last] != 0;
  const T *a = op.a.as<T>(), *y = op.y.as<T>();
  const B* b = op.b.as<B>();
  const bool whole = whole_runs<n>(rows, width, a_moves ? a : nullptr, b_moves ? b : nullptr, y);
  for_runs<n>(stream, Broadcast::name, rows, width,
              Combine<T, B, form>{walk, a, b, op.y.as<T>(), op.alpha, op.beta, a_moves, b_moves, whole});
}

// ------------------------------------------------------------------------------------------------------ sums over axes

constexpr int kLanes = 8, kMostColumns = 32, kBlockRows = 256;  // lane l of a block sums rows l, l + 8, …
constexpr int64_t kBlockElements = 2048;                        // of one warp

// partial[block, output, column] = Σ over 256 rows. A column of threads for every n elements of the last axis.
template <class T, class Z>
KERNEL(kMostColumns* kLanes, 2)
columns_kernel(ReducePlan plan, const T* x, const Z* z, bool whole, double* partial) {
  constexpr int n = kPack<T, Z>;
  DYN_SMEM(double, shared);  // [lanes, columns · n]
  const int width = static_cast<int>(blockDim.x) * n;
  const int64_t strips = (plan.inner + width - 1) / width;
  for (int64_t item = blockIdx.x; item < plan.blocks * plan.outputs * strips; item += gridDim.x) {
    const int64_t strip = item % strips * width, result = item / strips;  // result = block·outputs + output
    const int64_t first = result / plan.outputs * kBlockRows;
    const int64_t last = first + kBlockRows < plan.rows ? first + kBlockRows : plan.rows;
    const int64_t c = strip + static_cast<int64_t>(threadIdx.x) * n;
    const int count = static_cast<int>(plan.inner - c < n ? plan.inner - c : n);
    int64_t base[3];
    plan.kept.offsets(result % plan.outputs, plan.kept.rank, base);
    double sum[n] = {};
    for (int64_t row = first + threadIdx.y; row < last && count > 0; row += kLanes) {
      int64_t at[3];
      plan.reduced.offsets(row, plan.reduced.rank, at);
      Pack<float, n> value = load_floats<n>(x + base[0] + at[0] + c, count, whole);
      if (z != nullptr) {
        const Z* from = z + base[1] + at[1] + (plan.z_moves ? c : 0);
        const Pack<float, n> factor = load_or_repeat<n>(from, plan.z_moves, count, whole);
        for (int k = 0; k < n; ++k) value.at[k] *= factor.at[k];
      }
      for (int k = 0; k < n; ++k) sum[k] += static_cast<double>(value.at[k]);
    }
    for (int k = 0; k < n; ++k) shared[threadIdx.y * width + threadIdx.x * n + k] = sum[k];
    __syncthreads();  // the sums of all lanes are there
    for (int i = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x); i < width; i += blockDim.x * kLanes) {
      if (strip + i >= plan.inner) break;
      double total = shared[i];
      for (int lane = 1; lane < kLanes; ++lane) total += shared[lane * width + i];
      partial[result * plan.inner + strip + i] = total;
    }
    __syncthreads();  // they have been read before they are overwritten
  }
}

// partial[block, output]
template <class T, class Z>
struct SumRows {
  static constexpr int n = kPack<T, Z>;
  ReducePlan plan;
  const T* x;
  const Z* z;
  bool whole;
  double* partial;

  template <class Team>
  DEVICE void operator()(const Team& team, int64_t item) const {
    const int64_t block = item / plan.outputs;
    const bool cut = plan.pieces > 1;
    const int64_t row = cut ? block / plan.pieces : block * plan.block_rows;
    const int64_t end = row + plan.block_rows < plan.rows ? row + plan.block_rows : plan.rows;
    const int64_t first = cut ? block % plan.pieces * plan.piece : 0;
    const int64_t width = plan.inner - first < plan.piece ? plan.inner - first : plan.piece;
    int64_t base[3];
    plan.kept.offsets(item % plan.outputs, plan.kept.rank, base);
    double sum = 0.0;
    for (int64_t r = row; r < end; ++r) {
      int64_t at[3];
      plan.reduced.offsets(r, plan.reduced.rank, at);
      team.template for_runs<n>(width, [&](int64_t i, int count) {
        Pack<float, n> value = load_floats<n>(x + base[0] + at[0] + first + i, count, whole);
        if (z != nullptr) {
          const Z* from = z + base[1] + at[1] + (plan.z_moves ? first + i : 0);
          const Pack<float, n> factor = load_or_repeat<n>(from, plan.z_moves, count, whole);
          for (int k = 0; k < n; ++k) value.at[k] *= k < count ? factor.at[k] : 0.0f;
        }
        for (int k = 0; k < n; ++k) sum += static_cast<double>(value.at[k]);
      });
    }
    sum = team.sum(sum);
    if (team.lane() == 0) partial[item] = sum;
  }
};

// y[i] = scale · Σ_block partial[block, i], by a thread or by a warp.
template <class Y>
struct Finish {
  const double* partial;
  Y* y;
  int64_t results, blocks;
  double scale;

  DEVICE void write(int64_t i, double sum) const { y[i] = from_float<Y>(static_cast<float>(scale * sum)); }
  DEVICE void operator()(int64_t, int64_t first, int count) const {
    for (int k = 0; k < count; ++k) {
      double sum = 0.0;
      for (int64_t block = 0; block < blocks; ++block) sum += partial[block * results + first + k];
      write(first + k, sum);
    }
  }
  DEVICE void operator()(const Team<kWarp>& team, int64_t i) const {
    double sum = 0.0;
    for (int64_t block = team.lane(); block < blocks; block += kWarp) sum += partial[block * results + i];
    sum = team.sum(sum);
    if (team.lane() == 0) write(i, sum);
  }
};

template <class T, class Z>
void reduce(Stream& stream, const ReduceSum& op) {
  constexpr int n = kPack<T, Z>;
  const ReducePlan plan(op.x, op.z, op.y, kBlockElements, kBlockRows);
  const int64_t results = plan.outputs * (plan.columns ? plan.inner : 1);
  if (results == 0) return;
  auto* partial = static_cast<double*>(stream.scratch(0, plan.blocks * results * sizeof(double)));
  const T* x = op.x.as<T>();
  const Z* z = op.z.as<Z>();
  const bool one_row = plan.outputs * plan.rows == 1;
  const bool whole = whole_runs<n>(one_row ? 1 : 2, plan.inner, x, plan.z_moves ? z : nullptr);
  if (plan.columns) {
    const int64_t packs = (plan.inner + n - 1) / n;
    const auto columns = static_cast<unsigned>(std::min<int64_t>(kMostColumns, packs));
    const int64_t items = plan.blocks * plan.outputs * ((packs + columns - 1) / columns);
    LAUNCH((columns_kernel<T, Z>), dim3(static_cast<unsigned>(std::min<int64_t>(4096, items))), dim3(columns, kLanes),
           columns * n * kLanes * sizeof(double), stream.handle, plan, x, z, whole, partial);
    check_launch(ReduceSum::name);
  } else {
    for_warps(stream, ReduceSum::name, plan.blocks * plan.outputs, SumRows<T, Z>{plan, x, z, whole, partial});
  }
  with_float(op.y.dtype, [&](auto type) {
    using Y = decltype(type);
    const Finish<Y> finish{partial, op.y.as<Y>(), results, plan.blocks, static_cast<double>(op.scale)};
    if (plan.blocks < kWarp)
      for_runs<1>(stream, ReduceSum::name, 1, results, finish);
    else
      for_warps(stream, ReduceSum::name, results, finish);
  });
}

// f(the element type of the first operand, that of the second)
template <class F>
void with_floats(DType first, DType second, const F& f) {
  with_float(first, [&](auto one) { with_float(second, [&](auto two) { f(one, two); }); });
}

}  // namespace

void broadcast(Stream& stream, const Broadcast& op) {
  with_floats(op.y.dtype, op.b ? op.b.dtype : op.y.dtype, [&](auto type, auto other) {
    using T = decltype(type);
    using B = decltype(other);
    if (!op.b)
      combine<Form::scaled, T, B>(stream, op);
    else if (op.product)
      combine<Form::product, T, B>(stream, op);
    else
      combine<Form::sum, T, B>(stream, op);
  });
}

void reduce_sum(Stream& stream, const ReduceSum& op) {
  with_floats(op.x.dtype, op.z ? op.z.dtype : op.x.dtype,
              [&](auto type, auto other) { reduce<decltype(type), decltype(other)>(stream, op); });
}

}  // namespace diffusion::cuda
