// Images mirrored left-right as they are read: element (w, c) of a line of a mirrored image is (width − 1 − w, c) of
// the stored one.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cuda/divisor.cuh"
#include "cuda/pack.cuh"
#include "cuda/simt.h"

namespace diffusion::cuda {

// The lines of an image: their number of elements and of channels.
struct Mirror {
  Divisor line, channel;
  bool words;  // runs of four bytes lie within a line, and lines begin at words of four bytes

  Mirror(int64_t width, int64_t channels, bool whole)
      : line(width * channels), channel(channels), words(whole && channels <= 4 && width * channels % 4 == 0) {}

  // Where element `first` + k of the mirrored image is stored.
  DEVICE uint32_t place(uint32_t first) const {
    const uint32_t start = line.of(first) * line.value, at = first - start;
    const uint32_t c = at - channel.of(at) * channel.value;
    return start + line.value - channel.value - at + 2 * c;
  }

  template <class T>
  DEVICE Four<T> load(const T* image, int64_t first, int count) const {
    Four<T> four{};
    if constexpr (std::is_same_v<T, uint8_t>)
      if (words) return load_words(image, static_cast<uint32_t>(first));
    for (int k = 0; k < 4; ++k)
      if (k < count) four.at[k] = image[place(static_cast<uint32_t>(first) + k)];
    return four;
  }

 private:
  // Four elements of up to four channels come from at most twelve bytes that begin at a word: two or three pixels of
  // three channels, four pixels of one.
  DEVICE Four<uint8_t> load_words(const uint8_t* image, uint32_t first) const {
    uint32_t places[4], lowest = ~0u, highest = 0;
    for (int k = 0; k < 4; ++k) {
      places[k] = place(first + k);
      lowest = min(lowest, places[k]);
      highest = max(highest, places[k]);
    }
    lowest &= ~3u;
    const auto* from = reinterpret_cast<const uint32_t*>(image + lowest);
    const uint32_t a = from[0], b = highest - lowest > 3 ? from[1] : 0, c = highest - lowest > 7 ? from[2] : 0;
    Four<uint8_t> four;
    for (int k = 0; k < 4; ++k) {
      const uint32_t byte = places[k] - lowest, word = byte < 4 ? a : byte < 8 ? b : c;
      four.at[k] = static_cast<uint8_t>(word >> 8 * (byte % 4));
    }
    return four;
  }
};

}  // namespace diffusion::cuda
