#include "cpu/runtime/split_weights.h"

#include <omp.h>

#include <vector>

#include "cpu/runtime/prepared.h"
#include "cpu/runtime/stream.h"

namespace diffusion::cpu {
namespace {

constexpr int64_t kVector = 16;  // output channels that oneDNN's kernels compute at once
constexpr int64_t kElement = 2;  // bytes of bf16

int64_t whole_lines(size_t bytes) { return static_cast<int64_t>((bytes + 63) / 64 * 64); }

int64_t pixels_of(const Convolution& shape) { return shape.n * shape.oh * shape.ow; }

// Parts of the images give gradients that must be summed, parts of the channels read the whole x and copies of dy. A
// training step of the CIFAR-10 network takes 1.05 times as long by channels alone as by oneDNN's division, as
// here 1.0.
bool by_images(const Convolution& shape, int64_t team) {
  if (shape.n % team != 0) return false;
  const int64_t weights = shape.r * shape.s * shape.c * shape.k * static_cast<int64_t>(sizeof(float));
  return shape.k % (team * kVector) != 0 || weights * team <= 2 * pixels_of(shape) * shape.k * kElement;
}

// What one thread calls.
struct Part {
  dnnl::stream stream;
  Prepared gradient, reorder;

  // The gradient as oneDNN has it, into the weight's own layout.
  void put(const void* packed, void* to) {
    reorder.set(DNNL_ARG_FROM, packed);
    reorder.set(DNNL_ARG_TO, to);
    reorder.primitive.execute(stream, reorder.arguments);
  }
};

struct Split {
  bool by_images;
  Convolution shape;               // of one part
  int64_t packed, dy, scratchpad;  // bytes that one part needs of its own
  std::vector<Part> parts;
};

// A primitive divides its work among the threads that there are when it is made.
class Alone {
 public:
  Alone() { omp_set_num_threads(1); }
  ~Alone() { omp_set_num_threads(team_); }
  Alone(const Alone&) = delete;
  Alone& operator=(const Alone&) = delete;

 private:
  const int team_ = omp_get_max_threads();
};

// Some channels of all pixels, side by side.
void gather(const char* from, int64_t pixels, int64_t stride, int64_t bytes, char* to) {
  for (int64_t pixel = 0; pixel < pixels; ++pixel)
    std::memcpy(to + pixel * bytes, from + pixel * stride, static_cast<size_t>(bytes));
}

// to[i] += the other arrays' elements, in the order of the arrays.
void add_arrays(float* to, int64_t arrays, int64_t stride, int64_t size) {
#pragma omp parallel for
  for (int64_t i = 0; i < size; ++i)
    for (int64_t array = 1; array < arrays; ++array) to[i] += to[array * stride + i];
}

// Runs body(i) in thread i of the team; what oneDNN throws there is thrown here.
template <class Body>
void in_parts(size_t team, const Body& body) {
  std::vector<dnnl_status_t> status(team, dnnl_success);
#pragma omp parallel num_threads(static_cast<int>(team))
  {
    const auto i = static_cast<size_t>(omp_get_thread_num());
    try {
      body(i);
    } catch (const dnnl::error& error) {
      status[i] = error.status;
    }
  }
  for (const dnnl_status_t each : status)
    if (each != dnnl_success) throw dnnl::error(each, "a part failed");
}

}  // namespace

struct SplitWeights::Impl {
  const dnnl::engine& engine;
  Scratch& scratch;
  std::unordered_map<Key, Split, KeyHash> splits = {};

  Split& find(const Convolution& shape, int64_t flags) {
    const Key key{shape, kBackwardWeights, flags};
    const auto found = splits.find(key);
    if (found != splits.end()) return found->second;
    if (splits.size() >= kMaxPrimitives) splits.clear();
    return splits.emplace(key, create(shape, flags)).first->second;
  }

  Split create(const Convolution& whole, int64_t flags) const {
    const int team = omp_get_max_threads();
    const bool images = by_images(whole, team);
    Convolution shape = whole;
    (images ? shape.n : shape.k) /= team;
    const Descriptors d(shape, types_of(shape, kBackwardWeights), flags & kBias);
    const Descriptors hint(shape, Types::of_hint(shape.precision), flags & kBias);
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const Alone alone;
    const auto description = describe_backward_weights(engine, d, hint, attr);
    const memory::desc packed = description.diff_weights_desc(), scratchpad = description.scratchpad_desc();
    Split split{images,
                shape,
                whole_lines(packed.get_size()),
                images ? 0 : whole_lines(d.y.get_size()),
                whole_lines(scratchpad.get_size()),
                {}};
    for (int i = 0; i < team; ++i) {
      Part& part = split.parts.emplace_back(Part{dnnl::stream(engine), {}, {}});
      part.gradient.primitive = BackwardWeights(description);
      part.gradient.add(DNNL_ARG_SRC, d.x, engine);
      part.gradient.add(DNNL_ARG_DIFF_DST, d.y, engine);
      part.gradient.add(DNNL_ARG_DIFF_WEIGHTS, packed, engine);
      if (flags & kBias) part.gradient.add(DNNL_ARG_DIFF_BIAS, d.bias, engine);
      if (scratchpad.get_size() > 0) part.gradient.add(DNNL_ARG_SCRATCHPAD, scratchpad, engine);
      part.reorder =
          prepared_reorder(engine, packed, hwio(whole, memory::data_type::f32, shape.k), flags & kAccumulate);
    }
    return split;
  }
};

SplitWeights::SplitWeights(const dnnl::engine& engine, Scratch& scratch)
    : impl_(std::make_unique<Impl>(Impl{engine, scratch})) {}
SplitWeights::~SplitWeights() = default;

bool SplitWeights::takes(const Convolution& shape) {
  const int team = omp_get_max_threads();
  return shape.precision != Precision::f32 && team > 1 && (shape.n % team == 0 || shape.k % (team * kVector) == 0);
}

void SplitWeights::gradient(const Convolution& shape, const void* x, const void* dy, float* dweight, float* dbias,
                            bool accumulate) {
  Split& split = impl_->find(shape, (dbias ? kBias : 0) | (accumulate ? kAccumulate : 0));
  const Convolution& part_shape = split.shape;
  const size_t team = split.parts.size();
  char* const packed =
      static_cast<char*>(impl_->scratch.get(kPackedWeights, team * static_cast<size_t>(split.packed + split.dy)));
  char* const copies = packed + static_cast<int64_t>(team) * split.packed;
  char* const scratchpads =
      static_cast<char*>(impl_->scratch.get(kOneDnnScratchpad, team * static_cast<size_t>(split.scratchpad)));
  float* const bias = dbias ? impl_->scratch.floats(kPackedBias, team * static_cast<size_t>(shape.k)) : nullptr;

  in_parts(team, [&](size_t index) {
    const auto i = static_cast<int64_t>(index);
    Part& part = split.parts[index];
    Prepared& gradient = part.gradient;
    const char* own_x = static_cast<const char*>(x);
    const char* own_dy = static_cast<const char*>(dy);
    if (split.by_images) {
      own_x += i * part_shape.n * shape.h * shape.w * shape.c * kElement;
      own_dy += i * pixels_of(part_shape) * shape.k * kElement;
    } else {
      char* const copy = copies + i * split.dy;
      const int64_t bytes = part_shape.k * kElement;
      gather(own_dy + i * bytes, pixels_of(shape), shape.k * kElement, bytes, copy);
      own_dy = copy;
    }
    gradient.set(DNNL_ARG_SRC, own_x);
    gradient.set(DNNL_ARG_DIFF_DST, own_dy);
    gradient.set(DNNL_ARG_DIFF_WEIGHTS, packed + i * split.packed);
    if (bias) gradient.set(DNNL_ARG_DIFF_BIAS, bias + i * part_shape.k);
    if (split.scratchpad > 0) gradient.set(DNNL_ARG_SCRATCHPAD, scratchpads + i * split.scratchpad);
    gradient.primitive.execute(part.stream, gradient.arguments);
    if (!split.by_images) part.put(packed + i * split.packed, dweight + i * part_shape.k);
  });
  if (split.by_images) {
    const int64_t size = split.packed / static_cast<int64_t>(sizeof(float));
    add_arrays(reinterpret_cast<float*>(packed), static_cast<int64_t>(team), size, size);
    if (bias) add_arrays(bias, static_cast<int64_t>(team), shape.k, shape.k);
    split.parts[0].put(packed, dweight);
  }
  for (int64_t k = 0; bias && k < shape.k; ++k) dbias[k] = accumulate ? dbias[k] + bias[k] : bias[k];
}

}  // namespace diffusion::cpu
