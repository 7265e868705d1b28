// Copying boxes (core/ops/pad.h).
//   a thread for every 16 bytes of a row of the result (pad) or of what is put into it (place), or for every element
//   where a cut falls between; bytes: what is read and written, once each
#include "core/ops/pad.h"
#include "cuda/ops.h"
#include "cuda/runs.cuh"
#include "cuda/words.cuh"

namespace diffusion::cuda {
namespace {

int64_t rows_of(const int64_t (&size)[kMaxRank]) {
  int64_t rows = 1;
  for (int axis = 0; axis < kMaxRank - 1; ++axis) rows *= size[axis];
  return rows;
}

// The last axis in words of `count` elements.
void in_words(BoxCopy& box, int64_t count) {
  box.from[kMaxRank - 1] /= count;
  box.to[kMaxRank - 1] /= count;
  box.offset[kMaxRank - 1] /= count;
}

// What the widest word must divide: addresses, and sizes of the last axis in bytes.
uint64_t bits_of(const BoxCopy& box, const View& x, const View& y) {
  const int64_t sizes = box.from[kMaxRank - 1] | box.to[kMaxRank - 1] | box.offset[kMaxRank - 1];
  return reinterpret_cast<uintptr_t>(x.data) | reinterpret_cast<uintptr_t>(y.data) |
         static_cast<uint64_t>(sizes) * bytes_of(x.dtype);
}

template <class Word>
struct Filled {
  BoxCopy box;
  const Word* x;
  Word* y;
  Word value;

  DEVICE int64_t of_row(int64_t row) const { return source_row(box, row); }
  DEVICE void operator()(int64_t source, int64_t row, int64_t i, int) const {
    const int64_t from = i + box.offset[kMaxRank - 1], width = box.from[kMaxRank - 1];
    const bool inside = source >= 0 && from >= 0 && from < width;
    y[row * box.to[kMaxRank - 1] + i] = inside ? x[source * width + from] : value;
  }
};

template <class Word>
struct Placed {
  BoxCopy box;  // of x within y: `to` is x
  const Word* x;
  Word* y;

  DEVICE int64_t of_row(int64_t row) const { return source_row(box, row); }
  DEVICE void operator()(int64_t target, int64_t row, int64_t i, int) const {
    y[target * box.from[kMaxRank - 1] + i + box.offset[kMaxRank - 1]] = x[row * box.to[kMaxRank - 1] + i];
  }
};

// f(Word{}) as with_word, and bytes.
template <class F>
void with_any_word(uint64_t bits, const F& f) {
  if (bits % 2 != 0) return f(uint8_t{});
  with_word(bits, f);
}

// Its bytes repeated to a word.
template <class Word>
Word repeated(float value, DType dtype) {
  unsigned char bytes[sizeof(Word)] = {};
  const auto fill = [&](auto element) {
    for (size_t at = 0; at < sizeof(Word); ++at)
      bytes[at] = reinterpret_cast<unsigned char*>(&element)[at % sizeof element];
  };
  const auto clamp = [](float x, double low, double high) {
    const double r = std::nearbyint(static_cast<double>(x));
    return r != r ? 0.0 : std::min(high, std::max(low, r));
  };
  switch (dtype) {
    case DType::f32:
      fill(value);
      break;
    case DType::bf16: {
      const uint32_t bits = float_to_bits(value);
      const bool nan = value != value;
      fill(static_cast<uint16_t>((nan ? bits | 0x00400000u : bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16));
      break;
    }
    case DType::u8:
      fill(static_cast<uint8_t>(clamp(value, 0.0, 255.0)));
      break;
    case DType::i32:
      fill(static_cast<int32_t>(clamp(value, -2147483648.0, 2147483647.0)));
      break;
  }
  Word word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

}  // namespace

void pad(Stream& stream, const Pad& op) {
  if (op.y.size() == 0) return;
  BoxCopy box = box_copy(op, 1);
  with_any_word(bits_of(box, op.x, op.y), [&](auto type) {
    using Word = decltype(type);
    in_words(box, static_cast<int64_t>(sizeof(Word) / bytes_of(op.x.dtype)));
    for_runs<1>(stream, Pad::name, rows_of(box.to), box.to[kMaxRank - 1],
                Filled<Word>{box, op.x.as<Word>(), op.y.as<Word>(), repeated<Word>(op.value, op.y.dtype)});
  });
}

void place(Stream& stream, const Place& op) {
  if (op.x.size() == 0) return;
  BoxCopy box = box_copy(op, -1);
  std::swap(box.from, box.to);
  for (int64_t& offset : box.offset) offset = -offset;
  with_any_word(bits_of(box, op.x, op.y), [&](auto type) {
    using Word = decltype(type);
    in_words(box, static_cast<int64_t>(sizeof(Word) / bytes_of(op.x.dtype)));
    for_runs<1>(stream, Place::name, rows_of(box.to), box.to[kMaxRank - 1],
                Placed<Word>{box, op.x.as<Word>(), op.y.as<Word>()});
  });
}

}  // namespace diffusion::cuda
