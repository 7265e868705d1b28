#include "cpu/runtime/primitives.h"

#include <array>
#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "core/error.h"
#include "cpu/runtime/stream.h"

namespace diffusion::cpu {
namespace {

using dnnl::memory;
using tag = memory::format_tag;

constexpr auto kF32 = memory::data_type::f32;

// A primitive that has its memory objects, whose addresses each call sets.
struct Prepared {
  dnnl::primitive primitive;
  std::unordered_map<int, memory> arguments;

  void add(int argument, const memory::desc& desc, const dnnl::engine& engine) {
    arguments.emplace(argument, memory(desc, engine, DNNL_MEMORY_NONE));
  }
  // Setting an address may cost a pass over the padding, so only where it changed.
  void set(int argument, const void* address) {
    memory& target = arguments.at(argument);
    if (target.get_data_handle() != address) target.set_data_handle(const_cast<void*>(address));
  }
  void execute(const dnnl::stream& stream) { primitive.execute(stream, arguments); }
};

// A convolution and the reorder between the weights as given and as oneDNN wants them (absent where they are alike).
struct Entry {
  Prepared convolution, reorder;
  size_t packed_bytes = 0, scratchpad_bytes = 0;
};

enum Kind : int64_t { kForward, kBackwardData, kBackwardWeights };
constexpr int64_t kBias = 1, kSum = 2, kAddend = 4, kAccumulate = 8;  // flags

struct Key {
  Convolution shape;
  int64_t kind, flags;
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  size_t operator()(const Key& key) const {
    static_assert(sizeof(Key) % sizeof(uint64_t) == 0);
    uint64_t words[sizeof(Key) / sizeof(uint64_t)];
    std::memcpy(words, &key, sizeof key);
    uint64_t hash = 0xcbf29ce484222325u;
    for (const uint64_t word : words) hash = (hash ^ word) * 0x100000001b3u;
    return static_cast<size_t>(hash ^ (hash >> 32));
  }
};

// The descriptors of a convolution's operands, and what oneDNN takes in each constructor.
struct Descriptors {
  memory::desc x, weight_any, bias, y;
  memory::dims strides, padding_left, padding_right;

  Descriptors(const Convolution& s, bool with_bias)
      : x({s.n, s.c, s.h, s.w}, kF32, tag::nhwc),
        weight_any({s.k, s.c, s.r, s.s}, kF32, tag::any),
        y({s.n, s.k, s.oh, s.ow}, kF32, tag::nhwc),
        strides{s.stride, s.stride},
        padding_left{s.pad_top, s.pad_left},
        padding_right{s.pad_bottom, s.pad_right} {
    if (with_bias) bias = memory::desc({s.k}, kF32, tag::x);
  }
};

memory::desc hwio(const Convolution& s) {
  return {{s.k, s.c, s.r, s.s}, kF32, memory::dims{1, s.k, s.s * s.weight_c * s.k, s.weight_c * s.k}};
}

using Forward = dnnl::convolution_forward;
using BackwardData = dnnl::convolution_backward_data;
using BackwardWeights = dnnl::convolution_backward_weights;

#if DNNL_VERSION_MAJOR >= 3
Forward::primitive_desc describe_forward(const dnnl::engine& engine, dnnl::prop_kind kind, const Descriptors& d,
                                         const dnnl::primitive_attr& attr) {
  return {engine,
          kind,
          dnnl::algorithm::convolution_direct,
          d.x,
          d.weight_any,
          d.bias,
          d.y,
          d.strides,
          d.padding_left,
          d.padding_right,
          attr};
}
BackwardData::primitive_desc describe_backward_data(const dnnl::engine& engine, const Descriptors& d,
                                                    const Forward::primitive_desc& hint,
                                                    const dnnl::primitive_attr& attr) {
  return {engine,
          dnnl::algorithm::convolution_direct,
          d.x,
          d.weight_any,
          d.y,
          d.strides,
          d.padding_left,
          d.padding_right,
          hint,
          attr};
}
BackwardWeights::primitive_desc describe_backward_weights(const dnnl::engine& engine, const Descriptors& d,
                                                          const Forward::primitive_desc& hint,
                                                          const dnnl::primitive_attr& attr) {
  return {engine,
          dnnl::algorithm::convolution_direct,
          d.x,
          d.weight_any,
          d.bias,
          d.y,
          d.strides,
          d.padding_left,
          d.padding_right,
          hint,
          attr};
}
#else
Forward::primitive_desc describe_forward(const dnnl::engine& engine, dnnl::prop_kind kind, const Descriptors& d,
                                         const dnnl::primitive_attr& attr) {
  return {{kind, dnnl::algorithm::convolution_direct, d.x, d.weight_any, d.bias, d.y, d.strides, d.padding_left,
           d.padding_right},
          attr,
          engine};
}
BackwardData::primitive_desc describe_backward_data(const dnnl::engine& engine, const Descriptors& d,
                                                    const Forward::primitive_desc& hint,
                                                    const dnnl::primitive_attr& attr) {
  return {{dnnl::algorithm::convolution_direct, d.x, d.weight_any, d.y, d.strides, d.padding_left, d.padding_right},
          attr,
          engine,
          hint};
}
BackwardWeights::primitive_desc describe_backward_weights(const dnnl::engine& engine, const Descriptors& d,
                                                          const Forward::primitive_desc& hint,
                                                          const dnnl::primitive_attr& attr) {
  return {
      {dnnl::algorithm::convolution_direct, d.x, d.weight_any, d.bias, d.y, d.strides, d.padding_left, d.padding_right},
      attr,
      engine,
      hint};
}
#endif

}  // namespace

struct Primitives::Impl {
  explicit Impl(Scratch& scratch) : scratch(scratch) {}

  Scratch& scratch;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::unordered_map<Key, Entry, KeyHash> entries;

  static constexpr size_t kMaxEntries = 4096;

  Entry& find(const Convolution& shape, Kind kind, int64_t flags) {
    const Key key{shape, kind, flags};
    const auto found = entries.find(key);
    if (found != entries.end()) return found->second;
    if (entries.size() >= kMaxEntries) entries.clear();
    Entry entry = kind == kForward        ? create_forward(shape, flags)
                  : kind == kBackwardData ? create_backward_data(shape)
                                          : create_backward_weights(shape, flags);
    return entries.emplace(key, std::move(entry)).first->second;
  }

  static dnnl::primitive_attr attributes() {
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return attr;
  }

  template <class Description>
  void add_scratchpad(Entry& entry, const Description& description) {
    entry.scratchpad_bytes = description.scratchpad_desc().get_size();
    if (entry.scratchpad_bytes > 0) entry.convolution.add(DNNL_ARG_SCRATCHPAD, description.scratchpad_desc(), engine);
  }

  void add_reorder(Entry& entry, const memory::desc& from, const memory::desc& to, const memory::desc& packed,
                   bool accumulate) {
    entry.packed_bytes = packed.get_size();
    dnnl::primitive_attr attr;
    if (accumulate) {
      dnnl::post_ops post_ops;
      post_ops.append_sum(1.0f);
      attr.set_post_ops(post_ops);
    }
    entry.reorder.primitive = dnnl::reorder(dnnl::reorder::primitive_desc(engine, from, engine, to, attr));
    entry.reorder.add(DNNL_ARG_FROM, from, engine);
    entry.reorder.add(DNNL_ARG_TO, to, engine);
  }

  Entry create_forward(const Convolution& shape, int64_t flags) {
    const Descriptors d(shape, flags & kBias);
    dnnl::primitive_attr attr = attributes();
    dnnl::post_ops post_ops;
    if (flags & kSum) post_ops.append_sum(1.0f);
    if (flags & kAddend) post_ops.append_binary(dnnl::algorithm::binary_add, d.y);
    attr.set_post_ops(post_ops);
    const auto description = describe_forward(engine, dnnl::prop_kind::forward_training, d, attr);

    Entry entry;
    entry.convolution.primitive = Forward(description);
    entry.convolution.add(DNNL_ARG_SRC, d.x, engine);
    entry.convolution.add(DNNL_ARG_WEIGHTS, description.weights_desc(), engine);
    if (flags & kBias) entry.convolution.add(DNNL_ARG_BIAS, d.bias, engine);
    if (flags & kAddend) entry.convolution.add(DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, d.y, engine);
    entry.convolution.add(DNNL_ARG_DST, d.y, engine);
    add_scratchpad(entry, description);
    if (description.weights_desc() != hwio(shape))
      add_reorder(entry, hwio(shape), description.weights_desc(), description.weights_desc(), false);
    return entry;
  }

  Entry create_backward_data(const Convolution& shape) {
    const Descriptors d(shape, false);
    const auto hint = describe_forward(engine, dnnl::prop_kind::forward_training, d, {});
    const auto description = describe_backward_data(engine, d, hint, attributes());

    Entry entry;
    entry.convolution.primitive = BackwardData(description);
    entry.convolution.add(DNNL_ARG_DIFF_DST, d.y, engine);
    entry.convolution.add(DNNL_ARG_WEIGHTS, description.weights_desc(), engine);
    entry.convolution.add(DNNL_ARG_DIFF_SRC, d.x, engine);
    add_scratchpad(entry, description);
    if (description.weights_desc() != hwio(shape))
      add_reorder(entry, hwio(shape), description.weights_desc(), description.weights_desc(), false);
    return entry;
  }

  Entry create_backward_weights(const Convolution& shape, int64_t flags) {
    const Descriptors d(shape, flags & kBias);
    const auto hint = describe_forward(engine, dnnl::prop_kind::forward_training, d, {});
    const auto description = describe_backward_weights(engine, d, hint, attributes());

    Entry entry;
    entry.convolution.primitive = BackwardWeights(description);
    entry.convolution.add(DNNL_ARG_SRC, d.x, engine);
    entry.convolution.add(DNNL_ARG_DIFF_DST, d.y, engine);
    entry.convolution.add(DNNL_ARG_DIFF_WEIGHTS, description.diff_weights_desc(), engine);
    if (flags & kBias) entry.convolution.add(DNNL_ARG_DIFF_BIAS, d.bias, engine);
    add_scratchpad(entry, description);
    if ((flags & kAccumulate) || description.diff_weights_desc() != hwio(shape))
      add_reorder(entry, description.diff_weights_desc(), hwio(shape), description.diff_weights_desc(),
                  flags & kAccumulate);
    return entry;
  }

  void execute(Entry& entry) {
    if (entry.scratchpad_bytes > 0)
      entry.convolution.set(DNNL_ARG_SCRATCHPAD, scratch.get(kOneDnnScratchpad, entry.scratchpad_bytes));
    entry.convolution.execute(stream);
  }

  // The weight in the layout that the primitive reads.
  const void* packed(Entry& entry, const float* weight) {
    if (entry.packed_bytes == 0) return weight;
    void* target = scratch.get(kPackedWeights, entry.packed_bytes);
    entry.reorder.set(DNNL_ARG_FROM, weight);
    entry.reorder.set(DNNL_ARG_TO, target);
    entry.reorder.execute(stream);
    return target;
  }
};

namespace {

// oneDNN's exceptions become the engine's.
template <class Body>
void guarded(const char* what, Body&& body) {
  try {
    body();
  } catch (const dnnl::error& error) {
    fail(error.status == dnnl_out_of_memory ? code::out_of_memory : code::device, "%s: oneDNN: %s", what, error.what());
  }
}

}  // namespace

Primitives::Primitives(Scratch& scratch) {
  guarded("open", [&] { impl_ = std::make_unique<Impl>(scratch); });
}
Primitives::~Primitives() = default;

void Primitives::convolution(const Convolution& shape, const float* x, const float* weight, const float* bias,
                             const float* addend, float* y) {
  guarded("convolution", [&] {
    const bool in_place = addend == y;
    Entry& entry = impl_->find(shape, kForward, (bias ? kBias : 0) | (!addend ? 0 : in_place ? kSum : kAddend));
    Prepared& p = entry.convolution;
    p.set(DNNL_ARG_SRC, x);
    p.set(DNNL_ARG_WEIGHTS, impl_->packed(entry, weight));
    if (bias) p.set(DNNL_ARG_BIAS, bias);
    if (addend && !in_place) p.set(DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, addend);
    p.set(DNNL_ARG_DST, y);
    impl_->execute(entry);
  });
}

void Primitives::convolution_backward_data(const Convolution& shape, const float* dy, const float* weight, float* dx) {
  guarded("convolution backward data", [&] {
    Entry& entry = impl_->find(shape, kBackwardData, 0);
    Prepared& p = entry.convolution;
    p.set(DNNL_ARG_DIFF_DST, dy);
    p.set(DNNL_ARG_WEIGHTS, impl_->packed(entry, weight));
    p.set(DNNL_ARG_DIFF_SRC, dx);
    impl_->execute(entry);
  });
}

void Primitives::convolution_backward_weights(const Convolution& shape, const float* x, const float* dy, float* dweight,
                                              float* dbias, bool accumulate) {
  guarded("convolution backward weights", [&] {
    Entry& entry = impl_->find(shape, kBackwardWeights, (dbias ? kBias : 0) | (accumulate ? kAccumulate : 0));
    Prepared& p = entry.convolution;
    p.set(DNNL_ARG_SRC, x);
    p.set(DNNL_ARG_DIFF_DST, dy);
    void* packed = entry.packed_bytes ? impl_->scratch.get(kPackedWeights, entry.packed_bytes) : dweight;
    p.set(DNNL_ARG_DIFF_WEIGHTS, packed);
    float* bias = dbias && accumulate ? impl_->scratch.floats(kPackedBias, static_cast<size_t>(shape.k)) : dbias;
    if (dbias) p.set(DNNL_ARG_DIFF_BIAS, bias);
    impl_->execute(entry);
    if (entry.packed_bytes) {
      entry.reorder.set(DNNL_ARG_FROM, packed);
      entry.reorder.set(DNNL_ARG_TO, dweight);
      entry.reorder.execute(impl_->stream);
    }
    if (bias != dbias)
      for (int64_t k = 0; k < shape.k; ++k) dbias[k] += bias[k];
  });
}

bool gemm(char op_a, char op_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
          const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  return dnnl_sgemm(op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) == dnnl_success;
}

}  // namespace diffusion::cpu
