// Layer normalisation (core/ops/layer_norm.h).
//   x, y, dy, dx [M, D] f32 or bf16, stats [M, 2], gamma, beta, dgamma, dbeta [D] f32
//   forward, dx: a warp for every row, a block from 2048 elements on; 16 bytes a thread
//   dgamma, dbeta: a block for every 64 rows and up to 512 bytes of a row, then a thread for every result
//   bytes: x and dy twice or thrice, all but the first time from the caches
#include "core/ops/layer_norm.h"
#include "cuda/dispatch.cuh"
#include "cuda/ops.h"
#include "cuda/row_team.cuh"
#include "cuda/runs.cuh"

namespace diffusion::cuda {
namespace {

// gamma or beta; `otherwise` where there is none.
struct OfColumn {
  const float* values;
  float otherwise;
  DEVICE float operator()(int64_t i) const { return values ? values[i] : otherwise; }
};

template <class T>
struct Normalise {
  static constexpr int n = kPack<T>;
  const T* x;
  OfColumn gamma, beta;
  T* y;
  float* stats;
  int64_t width;
  float eps;
  bool whole;

  template <class Team>
  DEVICE void operator()(const Team& team, int64_t row) const {
    const T* const from = x + row * width;
    const auto elements = static_cast<double>(width);
    double sum = 0.0, squares = 0.0;
    team.template for_runs<n>(width, [&](int64_t i, int count) {
      const Pack<float, n> pack = load_floats<n>(from + i, count, whole);
      for (int k = 0; k < n; ++k) sum += static_cast<double>(pack.at[k]);
    });
    const double mean = team.sum(sum) / elements;
    const auto centre = static_cast<float>(mean);
    team.template for_runs<n>(width, [&](int64_t i, int count) {
      const Pack<float, n> pack = load_floats<n>(from + i, count, whole);
      for (int k = 0; k < n; ++k) {
        const double difference = static_cast<double>(pack.at[k]) - mean;
        if (k < count) squares += difference * difference;
      }
    });
    const auto rstd = static_cast<float>(1.0 / sqrt(team.sum(squares) / elements + static_cast<double>(eps)));
    if (team.lane() == 0) {
      stats[2 * row] = centre;
      stats[2 * row + 1] = rstd;
    }
    team.template for_runs<n>(width, [&](int64_t i, int count) {
      Pack<float, n> pack = load_floats<n>(from + i, count, whole);
      for (int k = 0; k < n; ++k)
        if (k < count) pack.at[k] = (pack.at[k] - centre) * rstd * gamma(i + k) + beta(i + k);
      store(y + row * width + i, count, whole, pack);
    });
  }
};

template <class T>
struct Differentiate {
  static constexpr int n = kPack<T>;
  const T *dy, *x;
  OfColumn gamma;
  const float* stats;
  T* dx;
  int64_t width;
  bool whole;

  template <class Team>
  DEVICE void operator()(const Team& team, int64_t row) const {
    const float mean = stats[2 * row], rstd = stats[2 * row + 1];
    const auto elements = static_cast<double>(width);
    // f(first element, count, dy·gamma, x̂)
    const auto for_all = [&](const auto& f) {
      team.template for_runs<n>(width, [&](int64_t i, int count) {
        Pack<float, n> w = load_floats<n>(dy + row * width + i, count, whole);
        Pack<float, n> centred = load_floats<n>(x + row * width + i, count, whole);
        for (int k = 0; k < n; ++k) {
          w.at[k] *= k < count ? gamma(i + k) : 0.0f;
          centred.at[k] = k < count ? (centred.at[k] - mean) * rstd : 0.0f;
        }
        f(i, count, w, centred);
      });
    };
    double sum = 0.0, product = 0.0;
    for_all([&](int64_t, int, const Pack<float, n>& w, const Pack<float, n>& centred) {
      for (int k = 0; k < n; ++k) {
        sum += static_cast<double>(w.at[k]);
        product += static_cast<double>(w.at[k]) * static_cast<double>(centred.at[k]);
      }
    });
    const auto lift = static_cast<float>(team.sum(sum) / elements);
    const auto pull = static_cast<float>(team.sum(product) / elements);
    for_all([&](int64_t i, int count, Pack<float, n>& w, const Pack<float, n>& centred) {
      for (int k = 0; k < n; ++k) w.at[k] = rstd * (w.at[k] - lift - centred.at[k] * pull);
      store(dx + row * width + i, count, whole, w);
    });
  }
};

// ------------------------------------------------------------------------------------------------- gamma and beta

constexpr int kLanes = 8, kMostColumns = 32, kBlockRows = 64;  // lane l of a block sums rows l, l + 8, …

// partial[block, {Σ dy·x̂, Σ dy}, D] over 64 rows. A column of threads for every n elements of a row.
template <class T>
KERNEL(kMostColumns* kLanes, 2)
parameters_kernel(const T* dy, const T* x, const float* stats, int64_t rows, int64_t width, int64_t blocks, bool whole,
                  double* partial) {
  constexpr int n = kPack<T>;
  DYN_SMEM(float, shared);  // [2, lanes, columns · n]
  const int strip_width = static_cast<int>(blockDim.x) * n;
  const int64_t strips = (width + strip_width - 1) / strip_width;
  for (int64_t item = blockIdx.x; item < blocks * strips; item += gridDim.x) {
    const int64_t strip = item % strips * strip_width, block = item / strips;
    const int64_t first = block * kBlockRows, last = first + kBlockRows < rows ? first + kBlockRows : rows;
    const int64_t c = strip + static_cast<int64_t>(threadIdx.x) * n;
    const int count = static_cast<int>(width - c < n ? width - c : n);
    float slope[n] = {}, offset[n] = {};
    for (int64_t row = first + threadIdx.y; row < last; row += kLanes) {
      const float mean = stats[2 * row], rstd = stats[2 * row + 1];
      const Pack<float, n> gradient = load_floats<n>(dy + row * width + c, count, whole);
      const Pack<float, n> value = load_floats<n>(x + row * width + c, count, whole);
      for (int k = 0; k < n; ++k) {
        slope[k] += gradient.at[k] * ((value.at[k] - mean) * rstd);
        offset[k] += gradient.at[k];
      }
    }
    float* const slopes = shared;
    float* const offsets = shared + kLanes * strip_width;
    for (int k = 0; k < n; ++k) {
      slopes[threadIdx.y * strip_width + threadIdx.x * n + k] = slope[k];
      offsets[threadIdx.y * strip_width + threadIdx.x * n + k] = offset[k];
    }
    __syncthreads();  // the sums of all lanes are there
    for (int i = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x); i < 2 * strip_width;
         i += blockDim.x * kLanes) {
      const int which = i / strip_width, column = i % strip_width;
      if (strip + column >= width) continue;
      const float* const from = which == 0 ? slopes : offsets;
      double total = 0.0;
      for (int lane = 0; lane < kLanes; ++lane) total += static_cast<double>(from[lane * strip_width + column]);
      partial[(block * 2 + which) * width + strip + column] = total;
    }
    __syncthreads();  // they have been read before they are overwritten
  }
}

struct SumBlocks {
  const double* partial;
  float *dgamma, *dbeta;
  int64_t blocks, width;
  bool accumulate;

  DEVICE void operator()(int64_t which, int64_t first, int count) const {
    float* const to = which == 0 ? dgamma : dbeta;
    if (to == nullptr) return;
    for (int k = 0; k < count; ++k) {
      double sum = accumulate ? static_cast<double>(to[first + k]) : 0.0;
      for (int64_t block = 0; block < blocks; ++block) sum += partial[(block * 2 + which) * width + first + k];
      to[first + k] = static_cast<float>(sum);
    }
  }
};

template <class T>
void sum_parameters(Stream& stream, const LayerNormBackward& op) {
  constexpr int n = kPack<T>;
  const int64_t rows = op.x.shape[0], width = op.x.shape[1], blocks = (rows + kBlockRows - 1) / kBlockRows;
  auto* partial = static_cast<double*>(stream.scratch(0, blocks * 2 * width * sizeof(double)));
  const int64_t packs = (width + n - 1) / n;
  const auto columns = static_cast<unsigned>(std::min<int64_t>(kMostColumns, packs));
  const int64_t items = blocks * ((packs + columns - 1) / columns);
  const T *dy = op.dy.as<T>(), *x = op.x.as<T>();
  if (items > 0) {
    LAUNCH((parameters_kernel<T>), dim3(static_cast<unsigned>(std::min<int64_t>(4096, items))), dim3(columns, kLanes),
           2 * columns * n * kLanes * sizeof(float), stream.handle, dy, x, op.stats.f32(), rows, width, blocks,
           whole_rows<n>(width, dy, x), partial);
    check_launch(LayerNormBackward::name);
  }
  for_runs<1>(stream, LayerNormBackward::name, 2, width,
              SumBlocks{partial, op.dgamma.f32(), op.dbeta.f32(), blocks, width, op.accumulate});
}

}  // namespace

void layer_norm(Stream& stream, const LayerNorm& op) {
  with_float(op.x.dtype, [&](auto type) {
    using T = decltype(type);
    const int64_t width = op.x.shape[1];
    const T *x = op.x.as<T>(), *y = op.y.as<T>();
    for_teams(stream, LayerNorm::name, op.x.shape[0], width,
              Normalise<T>{x,
                           {op.gamma.f32(), 1.0f},
                           {op.beta.f32(), 0.0f},
                           op.y.as<T>(),
                           op.stats.f32(),
                           width,
                           op.eps,
                           whole_rows<kPack<T>>(width, x, y)});
  });
}

void layer_norm_backward(Stream& stream, const LayerNormBackward& op) {
  with_float(op.x.dtype, [&](auto type) {
    using T = decltype(type);
    const int64_t width = op.x.shape[1];
    const T *dy = op.dy.as<T>(), *x = op.x.as<T>(), *dx = op.dx.as<T>();
    if (dx)
      for_teams(stream, LayerNormBackward::name, op.x.shape[0], width,
                Differentiate<T>{dy,
                                 x,
                                 {op.gamma.f32(), 1.0f},
                                 op.stats.f32(),
                                 op.dx.as<T>(),
                                 width,
                                 whole_rows<kPack<T>>(width, dy, x, dx)});
    if (op.dgamma || op.dbeta) sum_parameters<T>(stream, op);
  });
}

}  // namespace diffusion::cuda
