// Pooling over windows of pixels, NHWC, f32 or bf16 (sums in f32).   x [N, H, W, C]   y [N, OH, OW, C]
//   average: y = Σ of the window's pixels / count; count = kernel_h·kernel_w, or without include_pad the pixels of the
//            window that lie inside the image
//   maximum: over the pixels inside the image; index (u8, or i32 for windows of more than 256 pixels) = their place
//            r·kernel_w + s in the window. Of equal values the first counts; a NaN is larger than everything, the last
//            NaN counts.
// Window (oh, ow) begins at pixel (oh·stride_h − top, ow·stride_w − left). Paddings are smaller than the kernel, so
// that every window holds a pixel of the image.
#pragma once

#include "core/ops/check.h"

namespace diffusion {

// Half open.
struct Span {
  int32_t first, last;
};

// One axis of the image: where windows lie in it, and in which windows a pixel lies.
struct PoolAxis {
  int32_t size, windows, kernel, stride, before;

  // The pixels of window o.
  DIFFUSION_HD Span pixels_of(int32_t o) const {
    const int32_t begin = o * stride - before, end = begin + kernel;
    return {begin > 0 ? begin : 0, end < size ? end : size};
  }
  // The windows that hold pixel i.
  DIFFUSION_HD Span windows_of(int32_t i) const {
    const int32_t from = i + before - kernel + 1, last = (i + before) / stride + 1;
    return {from > 0 ? (from + stride - 1) / stride : 0, last < windows ? last : windows};
  }
  // The place of pixel i in window o.
  DIFFUSION_HD int32_t place(int32_t i, int32_t o) const { return i + before - o * stride; }
};

struct PoolGeometry {
  PoolAxis h, w;
  DIFFUSION_HD int64_t window() const { return static_cast<int64_t>(h.kernel) * w.kernel; }
};

inline DType pool_index_type(int64_t window) { return window <= 256 ? DType::u8 : DType::i32; }

// f(a value of the type of the places)
template <class F>
void with_pool_index(int64_t window, const F& f) {
  if (pool_index_type(window) == DType::u8)
    f(uint8_t{});
  else
    f(int32_t{});
}

template <class Op>
PoolGeometry pool_geometry(const Op& op, const View& x, const View& y) {
  require<Op>(x.rank == 4 && y.rank == 4, "tensors must have rank 4");
  require<Op>(x.shape[0] == y.shape[0] && x.shape[3] == y.shape[3], "x and y differ in batch or channels");
  constexpr int64_t kMost = 1 << 30;
  const auto axis = [](int64_t size, int64_t windows, int64_t kernel, int64_t stride, int64_t before, int64_t after) {
    require<Op>(kernel >= 1 && stride >= 1 && kernel < kMost && stride < kMost, "kernel and stride must be positive");
    require<Op>(before >= 0 && after >= 0 && before < kernel && after < kernel,
                "padding must be smaller than the kernel");
    const int64_t padded = size + before + after;
    require<Op>(padded >= kernel && padded < kMost, "the kernel is larger than the padded image");
    require<Op>(windows == (padded - kernel) / stride + 1, "output size does not match");
    const auto i = [](int64_t value) { return static_cast<int32_t>(value); };
    return PoolAxis{i(size), i(windows), i(kernel), i(stride), i(before)};
  };
  return {axis(x.shape[1], y.shape[1], op.kernel_h, op.stride_h, op.pad_top, op.pad_bottom),
          axis(x.shape[2], y.shape[2], op.kernel_w, op.stride_w, op.pad_left, op.pad_right)};
}

struct AvgPool {
  static constexpr const char* name = "avgPool2d";
  In x;
  Out y;
  int32_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right;
  bool include_pad;
  static constexpr auto fields =
      std::tuple{&AvgPool::x,          &AvgPool::y,         &AvgPool::kernel_h,   &AvgPool::kernel_w,
                 &AvgPool::stride_h,   &AvgPool::stride_w,  &AvgPool::pad_top,    &AvgPool::pad_left,
                 &AvgPool::pad_bottom, &AvgPool::pad_right, &AvgPool::include_pad};

  PoolGeometry geometry() const { return pool_geometry(*this, x, y); }
  void check() const {
    geometry();
    require_one_float<AvgPool>(x, y);
  }
};

// dx = Σ over the windows of a pixel of dy/count
struct AvgPoolBackward {
  static constexpr const char* name = "avgPool2dBackward";
  In dy;
  Out dx;
  int32_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right;
  bool include_pad;
  static constexpr auto fields =
      std::tuple{&AvgPoolBackward::dy,        &AvgPoolBackward::dx,         &AvgPoolBackward::kernel_h,
                 &AvgPoolBackward::kernel_w,  &AvgPoolBackward::stride_h,   &AvgPoolBackward::stride_w,
                 &AvgPoolBackward::pad_top,   &AvgPoolBackward::pad_left,   &AvgPoolBackward::pad_bottom,
                 &AvgPoolBackward::pad_right, &AvgPoolBackward::include_pad};

  PoolGeometry geometry() const { return pool_geometry(*this, dx, dy); }
  void check() const {
    geometry();
    require_one_float<AvgPoolBackward>(dy, dx);
  }
};

struct MaxPool {
  static constexpr const char* name = "maxPool2d";
  In x;
  Out y;
  OptOut index;
  int32_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right;
  static constexpr auto fields =
      std::tuple{&MaxPool::x,        &MaxPool::y,          &MaxPool::index,    &MaxPool::kernel_h,
                 &MaxPool::kernel_w, &MaxPool::stride_h,   &MaxPool::stride_w, &MaxPool::pad_top,
                 &MaxPool::pad_left, &MaxPool::pad_bottom, &MaxPool::pad_right};

  PoolGeometry geometry() const { return pool_geometry(*this, x, y); }
  void check() const {
    const PoolGeometry g = geometry();
    require_one_float<MaxPool>(x, y);
    require_dtype<MaxPool>(index, pool_index_type(g.window()), "index");
    require<MaxPool>(has_size(index, y.size()), "index does not match the output");
  }
};

// dx = Σ of dy over the windows whose maximum the pixel is
struct MaxPoolBackward {
  static constexpr const char* name = "maxPool2dBackward";
  In dy, index;
  Out dx;
  int32_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right;
  static constexpr auto fields = std::tuple{
      &MaxPoolBackward::dy,       &MaxPoolBackward::index,      &MaxPoolBackward::dx,       &MaxPoolBackward::kernel_h,
      &MaxPoolBackward::kernel_w, &MaxPoolBackward::stride_h,   &MaxPoolBackward::stride_w, &MaxPoolBackward::pad_top,
      &MaxPoolBackward::pad_left, &MaxPoolBackward::pad_bottom, &MaxPoolBackward::pad_right};

  PoolGeometry geometry() const { return pool_geometry(*this, dx, dy); }
  void check() const {
    const PoolGeometry g = geometry();
    require_one_float<MaxPoolBackward>(dy, dx);
    require_dtype<MaxPoolBackward>(index, pool_index_type(g.window()), "index");
    require<MaxPoolBackward>(has_size(index, dy.size()), "index does not match dy");
  }
};

}  // namespace diffusion
