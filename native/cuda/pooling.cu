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

// Forward every pixel of the result has a window in the image, backward it lies in windows of dy.
struct Forward {
  PoolGeometry g;
  DEVICE PixelOf of_row(int64_t row) const { return pixel_of(row, g.h.windows, g.w.windows); }
};
struct Backward {
  PoolGeometry g;
  DEVICE PixelOf of_row(int64_t row) const { return pixel_of(row, g.h.size, g.w.size); }
};

// Images of height × width pixels that are gathered.
template <class T>
struct Images {
  static constexpr int n = kPack<T>;
  const T* data;
  int32_t height, width;
  int64_t channels;
  bool whole;

  // f(row, column, offset, values) for these pixels of a sample, each from channel c on
  template <class F>
  DEVICE void each(int64_t sample, const Span& rows, const Span& columns, int64_t c, int count, const F& f) const {
    for (int32_t i = rows.first; i < rows.last; ++i)
      for (int32_t j = columns.first; j < columns.last; ++j) {
        const int64_t at = ((sample * height + i) * width + j) * channels + c;
        f(i, j, at, load_floats<n>(data + at, count, whole));
      }
  }
  template <class V>
  DEVICE void write(V* to, int64_t row, int64_t c, int count, const auto& values) const {
    store(to + row * channels + c, count, whole, values);
  }
};

template <class T>
struct Average : Forward {
  static constexpr int n = kPack<T>;
  Images<T> x;
  T* y;
  bool include_pad;

  DEVICE void operator()(const PixelOf& at, int64_t row, int64_t c, int count) const {
    const Span rows = g.h.pixels_of(at.i), columns = g.w.pixels_of(at.j);
    Pack<float, n> sum{};
    x.each(at.n, rows, columns, c, count, [&](int32_t, int32_t, int64_t, const Pack<float, n>& value) {
      for (int k = 0; k < n; ++k) sum.at[k] += value.at[k];
    });
    const float weight = weight_of(g, include_pad, rows, columns);
    for (int k = 0; k < n; ++k) sum.at[k] *= weight;
    x.write(y, row, c, count, sum);
  }
};

template <class T>
struct AverageGradient : Backward {
  static constexpr int n = kPack<T>;
  Images<T> dy;
  T* dx;
  bool include_pad;

  DEVICE void operator()(const PixelOf& at, int64_t row, int64_t c, int count) const {
    Pack<float, n> sum{};
    dy.each(at.n, g.h.windows_of(at.i), g.w.windows_of(at.j), c, count,
            [&](int32_t i, int32_t j, int64_t, const Pack<float, n>& value) {
              const float weight = weight_of(g, include_pad, g.h.pixels_of(i), g.w.pixels_of(j));
              for (int k = 0; k < n; ++k) sum.at[k] += value.at[k] * weight;
            });
    dy.write(dx, row, c, count, sum);
  }
};

template <class T, class Index>
struct Maximum : Forward {
  static constexpr int n = kPack<T>;
  Images<T> x;
  T* y;
  Index* index;

  DEVICE void operator()(const PixelOf& at, int64_t row, int64_t c, int count) const {
    const Span rows = g.h.pixels_of(at.i), columns = g.w.pixels_of(at.j);
    Pack<float, n> most;
    Pack<int32_t, n> place;
    for (int k = 0; k < n; ++k) {
      most.at[k] = -INFINITY;
      place.at[k] = g.h.place(rows.first, at.i) * g.w.kernel + g.w.place(columns.first, at.j);
    }
    x.each(at.n, rows, columns, c, count, [&](int32_t i, int32_t j, int64_t, const Pack<float, n>& value) {
      for (int k = 0; k < n; ++k) {
        if (!(value.at[k] > most.at[k] || isnan(value.at[k]))) continue;
        most.at[k] = value.at[k];
        place.at[k] = g.h.place(i, at.i) * g.w.kernel + g.w.place(j, at.j);
      }
    });
    x.write(y, row, c, count, most);
    if (index == nullptr) return;
    Pack<Index, n> places;
    for (int k = 0; k < n; ++k) places.at[k] = static_cast<Index>(place.at[k]);
    x.write(index, row, c, count, places);
  }
};

template <class T, class Index>
struct MaximumGradient : Backward {
  static constexpr int n = kPack<T>;
  Images<T> dy;
  const Index* index;
  T* dx;

  DEVICE void operator()(const PixelOf& at, int64_t row, int64_t c, int count) const {
    Pack<float, n> sum{};
    dy.each(at.n, g.h.windows_of(at.i), g.w.windows_of(at.j), c, count,
            [&](int32_t i, int32_t j, int64_t from, const Pack<float, n>& value) {
              const auto here = static_cast<Index>(g.h.place(at.i, i) * g.w.kernel + g.w.place(at.j, j));
              const Pack<Index, n> places = load<n>(index + from, count, dy.whole);
              for (int k = 0; k < n; ++k) sum.at[k] += places.at[k] == here ? value.at[k] : 0.0f;
            });
    dy.write(dx, row, c, count, sum);
  }
};

// Whether all pixels of these arrays, of so many channels, are whole runs.
template <int n, class... T>
bool whole_pixels(int64_t channels, const T*... data) {
  return channels % n == 0 && whole_runs<n>(1, channels, data...);
}

// Images that have as many pixels, all whole runs where those of the other arrays are, too.
template <class T, class... Other>
Images<T> images_of(const View& x, const Other*... others) {
  const T* data = x.as<T>();
  const auto height = static_cast<int32_t>(x.shape[1]), width = static_cast<int32_t>(x.shape[2]);
  return {data, height, width, x.channels(), whole_pixels<kPack<T>>(x.channels(), data, others...)};
}

template <class F>
void with_types(DType dtype, int64_t window, const F& f) {
  with_float(dtype, [&](auto type) { with_pool_index(window, [&](auto place) { f(type, place); }); });
}

// A kernel over the pixels of a result.
template <class Op, class Kernel>
void gather(Stream& stream, const View& result, const Kernel& kernel) {
  for_runs<Kernel::n>(stream, Op::name, result.rows(), result.channels(), kernel);
}

}  // namespace

void avg_pool(Stream& stream, const AvgPool& op) {
  if (op.y.size() == 0) return;
  with_float(op.x.dtype, [&]<class T>(T) {
    T* y = op.y.as<T>();
    gather<AvgPool>(stream, op.y, Average<T>{{op.geometry()}, images_of<T>(op.x, y), y, op.include_pad});
  });
}

void avg_pool_backward(Stream& stream, const AvgPoolBackward& op) {
  if (op.dx.size() == 0) return;
  with_float(op.dx.dtype, [&]<class T>(T) {
    T* dx = op.dx.as<T>();
    const AverageGradient<T> kernel{{op.geometry()}, images_of<T>(op.dy, dx), dx, op.include_pad};
    gather<AvgPoolBackward>(stream, op.dx, kernel);
  });
}

void max_pool(Stream& stream, const MaxPool& op) {
  if (op.y.size() == 0) return;
  const PoolGeometry g = op.geometry();
  with_types(op.x.dtype, g.window(), [&]<class T, class Index>(T, Index) {
    T* y = op.y.as<T>();
    auto* index = op.index.as<Index>();
    gather<MaxPool>(stream, op.y, Maximum<T, Index>{{g}, images_of<T>(op.x, y, index), y, index});
  });
}

void max_pool_backward(Stream& stream, const MaxPoolBackward& op) {
  if (op.dx.size() == 0) return;
  const PoolGeometry g = op.geometry();
  with_types(op.dx.dtype, g.window(), [&]<class T, class Index>(T, Index) {
    T* dx = op.dx.as<T>();
    const auto* index = op.index.as<Index>();
    gather<MaxPoolBackward>(stream, op.dx, MaximumGradient<T, Index>{{g}, images_of<T>(op.dy, dx, index), index, dx});
  });
}

}  // namespace diffusion::cuda
