// Pooling (core/ops/pooling.h), forward and backward by gathering: a row of the result at a time, its channels in
// pieces that stay in registers. Every result adds in the order of the window, so neither batch nor threads matter.
#include "core/ops/pooling.h"

#include <limits>

#include "cpu/float_types.h"
#include "cpu/ops.h"
#include "cpu/parallel.h"

namespace diffusion::cpu::DIFFUSION_ISA {
namespace {

constexpr int64_t kPiece = 64;  // channels

// f(sample, row, column, pixel's offset in elements) for every pixel of `to` [N, H, W, C].
template <class F>
void for_pixels(const Stream& stream, const View& to, int64_t work, const F& f) {
  const int64_t h = to.shape[1], w = to.shape[2], c = to.shape[3];
  parallel_for(stream, to.shape[0] * h, grain_of(w * c * work), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t column = 0; column < w; ++column)
        f(row / h, static_cast<int32_t>(row % h), static_cast<int32_t>(column), (row * w + column) * c);
  });
}

inline int64_t covered(const Span& span) { return span.last - span.first; }

inline float weight_of(const PoolGeometry& g, bool include_pad, const Span& rows, const Span& columns) {
  return 1.0f / static_cast<float>(include_pad ? g.window() : covered(rows) * covered(columns));
}

// f(row, column, pixel's offset in elements) for these pixels of sample n of an image [N, height, width, channels].
template <class F>
inline void for_span(const Span& rows, const Span& columns, int64_t n, const View& image, const F& f) {
  const int64_t height = image.shape[1], width = image.shape[2], channels = image.shape[3];
  for (int32_t i = rows.first; i < rows.last; ++i)
    for (int32_t j = columns.first; j < columns.last; ++j) f(i, j, ((n * height + i) * width + j) * channels);
}

// f(first, count) for pieces of so many channels
template <class F>
inline void for_pieces(int64_t channels, const F& f) {
  for (int64_t first = 0; first < channels; first += kPiece) f(first, std::min(kPiece, channels - first));
}

template <class T>
void average(const Stream& stream, const AvgPool& op) {
  const PoolGeometry g = op.geometry();
  for_pixels(stream, op.y, g.window(), [&](int64_t n, int32_t oh, int32_t ow, int64_t at) {
    const Span rows = g.h.pixels_of(oh), columns = g.w.pixels_of(ow);
    const float weight = weight_of(g, op.include_pad, rows, columns);
    for_pieces(op.x.shape[3], [&](int64_t first, int64_t count) {
      alignas(64) float sum[kPiece] = {};
      for_span(rows, columns, n, op.x, [&](int32_t, int32_t, int64_t pixel) {
        const T* x = op.x.as<T>() + pixel + first;
#pragma omp simd
        for (int64_t k = 0; k < count; ++k) sum[k] += widen(x[k]);
      });
      T* y = op.y.as<T>() + at + first;
#pragma omp simd
      for (int64_t k = 0; k < count; ++k) y[k] = convert<T>(sum[k] * weight);
    });
  });
}

// dx = the sum over the windows of a pixel; add(sum, place of dy[window's first channel], count, window's row and
// column, pixel's row and column) adds what one gives to `count` channels
template <class T, class Op, class Add>
void backward(const Stream& stream, const Op& op, const PoolGeometry& g, const Add& add) {
  const int64_t overlap = std::max<int64_t>(1, g.window() / (static_cast<int64_t>(g.h.stride) * g.w.stride));
  for_pixels(stream, op.dx, overlap, [&](int64_t n, int32_t h, int32_t w, int64_t at) {
    const Span rows = g.h.windows_of(h), columns = g.w.windows_of(w);
    for_pieces(op.dx.shape[3], [&](int64_t first, int64_t count) {
      alignas(64) float sum[kPiece] = {};
      for_span(rows, columns, n, op.dy,
               [&](int32_t i, int32_t j, int64_t window) { add(sum, window + first, count, i, j, h, w); });
      T* dx = op.dx.template as<T>() + at + first;
#pragma omp simd
      for (int64_t k = 0; k < count; ++k) dx[k] = convert<T>(sum[k]);
    });
  });
}

template <class T>
void average_backward(const Stream& stream, const AvgPoolBackward& op) {
  const PoolGeometry g = op.geometry();
  backward<T>(stream, op, g, [&](float* sum, int64_t at, int64_t count, int32_t i, int32_t j, int32_t, int32_t) {
    const float weight = weight_of(g, op.include_pad, g.h.pixels_of(i), g.w.pixels_of(j));
    const T* dy = op.dy.as<T>() + at;
#pragma omp simd
    for (int64_t k = 0; k < count; ++k) sum[k] += widen(dy[k]) * weight;
  });
}

template <class T, class Index>
void maximum(const Stream& stream, const MaxPool& op) {
  const PoolGeometry g = op.geometry();
  for_pixels(stream, op.y, g.window(), [&](int64_t n, int32_t oh, int32_t ow, int64_t at) {
    const Span rows = g.h.pixels_of(oh), columns = g.w.pixels_of(ow);
    for_pieces(op.x.shape[3], [&](int64_t first, int64_t count) {
      alignas(64) float most[kPiece];
      alignas(64) int32_t place[kPiece];
      std::fill(most, most + kPiece, -std::numeric_limits<float>::infinity());
      std::fill(place, place + kPiece, g.h.place(rows.first, oh) * g.w.kernel + g.w.place(columns.first, ow));
      for_span(rows, columns, n, op.x, [&](int32_t i, int32_t j, int64_t pixel) {
        const int32_t here = g.h.place(i, oh) * g.w.kernel + g.w.place(j, ow);
        const T* x = op.x.as<T>() + pixel + first;
#pragma omp simd
        for (int64_t k = 0; k < count; ++k) {
          const float value = widen(x[k]);
          const bool larger = (value > most[k]) | (value != value);
          most[k] = larger ? value : most[k];
          place[k] = larger ? here : place[k];
        }
      });
      T* y = op.y.as<T>() + at + first;
#pragma omp simd
      for (int64_t k = 0; k < count; ++k) y[k] = convert<T>(most[k]);
      if (!op.index) return;
      Index* index = op.index.as<Index>() + at + first;
#pragma omp simd
      for (int64_t k = 0; k < count; ++k) index[k] = static_cast<Index>(place[k]);
    });
  });
}

template <class T, class Index>
void maximum_backward(const Stream& stream, const MaxPoolBackward& op) {
  const PoolGeometry g = op.geometry();
  backward<T>(stream, op, g, [&](float* sum, int64_t at, int64_t count, int32_t i, int32_t j, int32_t h, int32_t w) {
    const auto here = static_cast<Index>(g.h.place(h, i) * g.w.kernel + g.w.place(w, j));
    const T* dy = op.dy.as<T>() + at;
    const Index* index = op.index.as<Index>() + at;
#pragma omp simd
    for (int64_t k = 0; k < count; ++k) sum[k] += index[k] == here ? widen(dy[k]) : 0.0f;
  });
}

// f(a value of the element type, one of the type of the places)
template <class F>
void with_types(DType dtype, int64_t window, const F& f) {
  with_float(dtype, [&](auto type) { with_pool_index(window, [&](auto index) { f(type, index); }); });
}

}  // namespace

void avg_pool(Stream& stream, const AvgPool& op) {
  with_float(op.x.dtype, [&](auto type) { average<decltype(type)>(stream, op); });
}

void avg_pool_backward(Stream& stream, const AvgPoolBackward& op) {
  with_float(op.dx.dtype, [&](auto type) { average_backward<decltype(type)>(stream, op); });
}

void max_pool(Stream& stream, const MaxPool& op) {
  with_types(op.x.dtype, op.geometry().window(),
             [&](auto type, auto index) { maximum<decltype(type), decltype(index)>(stream, op); });
}

void max_pool_backward(Stream& stream, const MaxPoolBackward& op) {
  with_types(op.dx.dtype, op.geometry().window(),
             [&](auto type, auto index) { maximum_backward<decltype(type), decltype(index)>(stream, op); });
}

}  // namespace diffusion::cpu::DIFFUSION_ISA
