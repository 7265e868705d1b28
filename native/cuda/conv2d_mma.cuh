// How the pixels of a product's rows see an image: what the convolution and its data gradient have in common on tensor
// cores (mma_gemm.cuh).
//
//   A[(n, i, j), (r, s, c)] = image[n, i·stride + r − top, j·stride + s − left, c], zero outside; c over x, then x2
#pragma once

#include "core/ops/conv2d.h"
#include "cuda/conv2d.cuh"
#include "cuda/mma_write.cuh"

namespace diffusion::cuda {

struct Image {
  const Bf16 *x, *x2;
  int h, w, c1, c2;  // h, w: as taps see them
  int enlarge;       // 1: pixel (i, j) is (i >> 1, j >> 1) of x; else 0
  bool wide;         // chunks of x and x2 are whole and aligned

  DEVICE int channels() const { return c1 + c2; }
  // The pixel of x, and of x2, that taps see at (i, j) of a sample whose first is `first`.
  DEVICE int64_t pixel(int64_t first, int i, int j) const {
    return first + static_cast<int64_t>(i >> enlarge) * (w >> enlarge) + (j >> enlarge);
  }
  DEVICE int64_t first_pixel(int64_t sample) const { return sample * (h >> enlarge) * (w >> enlarge); }
  DEVICE bool holds(int i, int j) const {
    return static_cast<unsigned>(i) < static_cast<unsigned>(h) && static_cast<unsigned>(j) < static_cast<unsigned>(w);
  }
  DEVICE const Bf16* channel(int c) const { return c < c1 ? x + c : x2 + (c - c1); }
  DEVICE int pitch(int c) const { return c < c1 ? c1 : c2; }
};

inline Image image_of(const View& x, const View& x2, int h, int w, bool enlarge) {
  const int c1 = static_cast<int>(x.channels()), c2 = x2 ? static_cast<int>(x2.channels()) : 0;
  const bool wide = has_chunks(x.data, c1) && (!x2 || has_chunks(x2.data, c2));
  return {x.as<const Bf16>(), x2.as<const Bf16>(), h, w, c1, c2, enlarge ? 1 : 0, wide};
}

// The taps of a phase, and how far before its pixel they begin.
struct Window {
  int taps_r, taps_s, top, left;
};

// Forward without division: steps are small.
DEVICE void step(Odometer& at, int by, int middles, int lows) {
  at.low += by;
  while (at.low >= lows) {
    at.low -= lows;
    if (++at.middle == middles) at.middle = 0, ++at.high;
  }
}

// A chunk of elements of which value(i) gives one each.
template <class Value>
DEVICE void gather_chunk(Chunk* to, const Value& value) {
  Chunk chunk;
#pragma unroll
  for (int i = 0; i < kChunk / 2; ++i) {
    const uint32_t low = value(2 * i).bits;
    chunk.words[i] = low | static_cast<uint32_t>(value(2 * i + 1).bits) << 16;
  }
  *to = chunk;
}

// `count` (≥ 8: all) elements from `from` on, zeros for the rest.
DEVICE void gather_chunk(Chunk* to, const Bf16* from, int count) {
  gather_chunk(to, [&](int i) { return i < count ? from[i] : Bf16{0}; });
}

// Two lines of A that a thread copies from, chunk by chunk. Addresses are found when a tap begins, which is where the
// image's edges and the pair's cut are looked at, and only moved on within it.
struct PatchLines {
  Image image;
  int stride, grid_h, grid_w;
  int64_t rows;

  struct Cursor {
    int samples[2], i[2], j[2];  // where the lines' windows begin
    Odometer tap;                // (r, s, c)
    int taps_r, taps_s;
    const Bf16* from[2];
    bool exists[2];
    int limit;  // the first channel that is elsewhere
  };

  DEVICE void find(Cursor& c) const {
    c.limit = c.tap.low < image.c1 ? image.c1 : image.channels();
    const Bf16* const channel = image.channel(c.tap.low);
    const int64_t pitch = image.pitch(c.tap.low);
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int i = c.i[e] + c.tap.high, j = c.j[e] + c.tap.middle;
      c.exists[e] = c.tap.high < c.taps_r && image.holds(i, j);
      c.from[e] = c.exists[e] ? channel + image.pixel(image.first_pixel(c.samples[e]), i, j) * pitch : image.x;
    }
  }
  DEVICE Cursor begin(const Window& window, int64_t row, int row_step, int64_t depth) const {
    Cursor c = {};
    c.tap = odometer(depth, window.taps_s > 0 ? window.taps_s : 1, image.channels());
    c.taps_r = window.taps_r, c.taps_s = window.taps_s;
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const Odometer at = odometer(row + e * row_step, grid_h, grid_w);
      c.samples[e] = at.high;
      c.i[e] = row + e * row_step < rows ? at.middle * stride - window.top : -(1 << 30);
      c.j[e] = at.low * stride - window.left;
    }
    find(c);
    return c;
  }
  template <bool kWide>
  DEVICE void copy(const Cursor& c, Chunk* to, int second) const {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      if (kWide || image.wide) {
        cp_async_16(to + e * second, c.from[e], c.exists[e]);
      } else {
        Odometer tap = c.tap;
        gather_chunk(to + e * second, [&](int) {
          const int i = c.i[e] + tap.high, j = c.j[e] + tap.middle;
          Bf16 value{0};
          if (tap.high < c.taps_r && image.holds(i, j))
            value = image.channel(tap.low)[image.pixel(image.first_pixel(c.samples[e]), i, j) * image.pitch(tap.low)];
          step(tap, 1, c.taps_s, image.channels());
          return value;
        });
      }
    }
  }
  // To the next slab. Whether another tap, or the other image of the pair, has begun.
  DEVICE bool advance(Cursor& c) const {
    if (c.tap.low + kSlabDepth < c.limit) {
      c.tap.low += kSlabDepth;
      c.from[0] += kSlabDepth, c.from[1] += kSlabDepth;
      return false;
    }
    step(c.tap, kSlabDepth, c.taps_s, image.channels());
    find(c);
    return true;
  }
};

}  // namespace diffusion::cuda
