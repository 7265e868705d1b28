// Pooling (core/ops/pooling.h).
//   x, dx [N, H, W, C]     y, dy, index [N, OH, OW, C], f32 or bf16 with sums in f32
//   a thread for every 16 bytes of channels of a pixel of the result, which it gathers: forward from the pixels of its
//   window, backward from the windows of its pixel; no two threads write one place
//   bytes: the result once, the other image once for every window that a pixel lies in, mostly from the caches
#include "core/ops/pooling.h"
#include "cuda/dispatch.cuh"
#include "cuda/ops.h"
#include "cuda/runs.cuh"

namespace diffusion::cuda {
namespace {

// Pixel `row` = (n·H + i)·W + j of an image of H × W pixels.
struct PixelOf {
  int64_t n;
  int32_t i, j;
};

DEVICE PixelOf pixel_of(int64_t row, int32_t height, int32_t width) {
  const int64_t line = row / width;
  return {line / height, static_cast<int32_t>(line % height), static_cast<int32_t>(row % width)};
}

DEVICE float weight_of(const PoolGeometry& g, bool include_pad, const Span& rows, const Span& columns) {
  const int64_t inside = static_cast<int64_t>(rows.last - rows.first) * (columns.last - columns.first);
  return 1.0f / static_cast<float>(include_pad ? g.window() : inside);
}

template <class T>
struct Average {
  static constexpr int n = kPack<T>;
  PoolGeometry g;
  const T* x;
  T* y;
  int64_t channels;
  bool include_pad, whole;

  DEVICE PixelOf of_row(int64_t row) const { return pixel_of(row, g.h.windows, g.w.windows); }
  DEVICE void operator()(const PixelOf& at, int64_t row, int64_t c, int count) const {
    const Span rows = g.h.pixels_of(at.i), columns = g.w.pixels_of(at.j);
    Pack<float, n> sum{};
    for (int32_t i = rows.first; i < rows.last; ++i)
      for (int32_t j = columns.first; j < columns.last; ++j) {
        const int64_t pixel = (at.n * g.h.size + i) * g.w.size + j;
        const Pack<float, n> value = load_floats<n>(x + pixel * channels + c, count, whole);
        for (int k = 0; k < n; ++k) sum.at[k] += value.at[k];
      }
    const float weight = weight_of(g, include_pad, rows, columns);
    for (int k = 0; k < n; ++k) sum.at[k] *= weight;
    store(y + row * channels + c, count, whole, sum);
  }
};

template <class T>
struct AverageGradient {
  static constexpr int n = kPack<T>;
  PoolGeometry g;
  const T* dy;
  T* dx;
  int64_t channels;
  bool include_pad, whole;

  DEVICE PixelOf of_row(int64_t row) const { return pixel_of(row, g.h.size, g.w.size); }
  DEVICE void operator()(const PixelOf& at, int64_t row, int64_t c, int count) const {
    const Span rows = g.h.windows_of(at.i), columns = g.w.windows_of(at.j);
    Pack<float, n> sum{};
    for (int32_t i = rows.first; i < rows.last; ++i)
      for (int32_t j = columns.first; j < columns.last; ++j) {
        const float weight = weight_of(g, include_pad, g.h.pixels_of(i), g.w.pixels_of(j));
        const int64_t window = (at.n * g.h.windows + i) * g.w.windows + j;
        const Pack<float, n> value = load_floats<n>(dy + window * channels + c, count, whole);
        for (int k = 0; k < n; ++k) sum.at[k] += value.at[k] * weight;
      }
    store(dx + row * channels + c, count, whole, sum);
  }
};

template <class T, class Index>
struct Maximum {
  static constexpr int n = kPack<T>;
  PoolGeometry g;
  const T* x;
  T* y;
  Index* index;
  int64_t channels;
  bool whole;

  DEVICE PixelOf of_row(int64_t row) const { return pixel_of(row, g.h.windows, g.w.windows); }
  DEVICE void operator()(const PixelOf& at, int64_t row, int64_t c, int count) const {
    const Span rows = g.h.pixels_of(at.i), columns = g.w.pixels_of(at.j);
    Pack<float, n> most;
    Pack<int32_t, n> place;
    for (int k = 0; k < n; ++k) {
      most.at[k] = -INFINITY;
      place.at[k] = g.h.place(rows.first, at.i) * g.w.kernel + g.w.place(columns.first, at.j);
    }
    for (int32_t i = rows.first; i < rows.last; ++i)
      for (int32_t j = columns.first; j < columns.last; ++j) {
        const int64_t pixel = (at.n * g.h.size + i) * g.w.size + j;
        const Pack<float, n> value = load_floats<n>(x + pixel * channels + c, count, whole);
        for (int k = 0; k < n; ++k) {
          if (!(value.at[k] > most.at[k] || isnan(value.at[k]))) continue;
          most.at[k] = value.at[k];
          place.at[k] = g.h.place(i, at.i) * g.w.kernel + g.w.place(j, at.j);
        }
      }
    store(y + row * channels + c, count, whole, most);
    if (index == nullptr) return;
    Pack<Index, n> places;
    for (int k = 0; k < n; ++k) places.at[k] = static_cast<Index>(place.at[k]);
    store(index + row * channels + c, count, whole, places);
  }
};

template <class T, class Index>
struct MaximumGradient {
  static constexpr int n = kPack<T>;
  PoolGeometry g;
  const T* dy;
  const Index* index;
  T* dx;
  int64_t channels;
  bool whole;

  DEVICE PixelOf of_row(int64_t row) const { return pixel_of(row, g.h.size, g.w.size); }
  DEVICE void operator()(const PixelOf& at, int64_t row, int64_t c, int count) const {
    const Span rows = g.h.windows_of(at.i), columns = g.w.windows_of(at.j);
    Pack<float, n> sum{};
    for (int32_t i = rows.first; i < rows.last; ++i)
      for (int32_t j = columns.first; j < columns.last; ++j) {
        const auto here = static_cast<Index>(g.h.place(at.i, i) * g.w.kernel + g.w.place(at.j, j));
        const int64_t window = (at.n * g.h.windows + i) * g.w.windows + j;
        const Pack<float, n> value = load_floats<n>(dy + window * channels + c, count, whole);
        const Pack<Index, n> places = load<n>(index + window * channels + c, count, whole);
        for (int k = 0; k < n; ++k) sum.at[k] += places.at[k] == here ? value.at[k] : 0.0f;
      }
    store(dx + row * channels + c, count, whole, sum);
  }
};

// Whether all pixels of these arrays, of so many channels, are whole runs.
template <int n, class... T>
bool whole_pixels(int64_t channels, const T*... data) {
  return channels % n == 0 && whole_runs<n>(1, channels, data...);
}

template <class F>
void with_types(DType dtype, int64_t window, const F& f) {
  with_float(dtype, [&](auto type) {
    if (pool_index_type(window) == DType::u8)
      f(type, uint8_t{});
    else
      f(type, int32_t{});
  });
}

}  // namespace

void avg_pool(Stream& stream, const AvgPool& op) {
  if (op.y.size() == 0) return;
  with_float(op.x.dtype, [&](auto type) {
    using T = decltype(type);
    const int64_t channels = op.y.channels();
    const T *x = op.x.as<T>(), *y = op.y.as<T>();
    for_runs<kPack<T>>(
        stream, AvgPool::name, op.y.rows(), channels,
        Average<T>{op.geometry(), x, op.y.as<T>(), channels, op.include_pad, whole_pixels<kPack<T>>(channels, x, y)});
  });
}

void avg_pool_backward(Stream& stream, const AvgPoolBackward& op) {
  if (op.dx.size() == 0) return;
  with_float(op.dx.dtype, [&](auto type) {
    using T = decltype(type);
    const int64_t channels = op.dx.channels();
    const T *dy = op.dy.as<T>(), *dx = op.dx.as<T>();
    for_runs<kPack<T>>(stream, AvgPoolBackward::name, op.dx.rows(), channels,
                       AverageGradient<T>{op.geometry(), dy, op.dx.as<T>(), channels, op.include_pad,
                                          whole_pixels<kPack<T>>(channels, dy, dx)});
  });
}

void max_pool(Stream& stream, const MaxPool& op) {
  if (op.y.size() == 0) return;
  const PoolGeometry g = op.geometry();
  with_types(op.x.dtype, g.window(), [&](auto type, auto place) {
    using T = decltype(type);
    using Index = decltype(place);
    const int64_t channels = op.y.channels();
    const T *x = op.x.as<T>(), *y = op.y.as<T>();
    const Index* index = op.index.as<Index>();
    for_runs<kPack<T>>(stream, MaxPool::name, op.y.rows(), channels,
                       Maximum<T, Index>{g, x, op.y.as<T>(), op.index.as<Index>(), channels,
                                         whole_pixels<kPack<T>>(channels, x, y, index)});
  });
}

void max_pool_backward(Stream& stream, const MaxPoolBackward& op) {
  if (op.dx.size() == 0) return;
  const PoolGeometry g = op.geometry();
  with_types(op.dx.dtype, g.window(), [&](auto type, auto place) {
    using T = decltype(type);
    using Index = decltype(place);
    const int64_t channels = op.dx.channels();
    const T *dy = op.dy.as<T>(), *dx = op.dx.as<T>();
    const Index* index = op.index.as<Index>();
    for_runs<kPack<T>>(stream, MaxPoolBackward::name, op.dx.rows(), channels,
                       MaximumGradient<T, Index>{g, dy, index, op.dx.as<T>(), channels,
                                                 whole_pixels<kPack<T>>(channels, dy, dx, index)});
  });
}

}  // namespace diffusion::cuda
