#include "cpu/runtime/primitives.h"

#include <string_view>
#include <unordered_map>

#include "core/error.h"
#include "cpu/runtime/onednn.h"
#include "cpu/runtime/packed_weights.h"
#include "cpu/runtime/prepared.h"
#include "cpu/runtime/split_weights.h"
#include "cpu/runtime/stream.h"

namespace diffusion::cpu {
namespace {

// A convolution and the reorder between the weight as given and as oneDNN wants it (absent where they are alike).
struct Entry {
  Prepared convolution, reorder;
  memory::desc weight;  // as the primitive reads it
  size_t packed_bytes = 0, scratchpad_bytes = 0;
  int64_t calls = 1;               // for the whole batch at once, or one an image
  int64_t x_step = 0, y_step = 0;  // bytes between images
};

bool by_matrix_product(const char* implementation) {
  return std::string_view(implementation).find("gemm") != std::string_view::npos;
}

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

struct Primitives::Impl {
  Impl(Scratch& scratch, const OpenOptions& options) : scratch(scratch), packed(options), split(engine, scratch) {}

  Scratch& scratch;
  PackedWeights packed;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::unordered_map<Key, Entry, KeyHash> entries;
  SplitWeights split;

  Entry& find(const Convolution& shape, Kind kind, int64_t flags) {
    const Key key{shape, kind, flags};
    const auto found = entries.find(key);
    if (found != entries.end()) return found->second;
    if (entries.size() >= kMaxPrimitives) entries.clear();
    return entries.emplace(key, create(shape, kind, flags)).first->second;
  }

  Entry create(const Convolution& shape, Kind kind, int64_t flags) {
    const Types types = types_of(shape, kind);
    const Descriptors d(shape, types, flags & kBias), hint(shape, Types::of_hint(shape.precision), flags & kBias);
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (kind == kBackwardWeights) {
      const auto description = describe_backward_weights(engine, d, hint, attr);
      Entry entry;
      entry.convolution.primitive = BackwardWeights(description);
      entry.convolution.add(DNNL_ARG_SRC, d.x, engine);
      entry.convolution.add(DNNL_ARG_DIFF_DST, d.y, engine);
      entry.convolution.add(DNNL_ARG_DIFF_WEIGHTS, description.diff_weights_desc(), engine);
      if (flags & kBias) entry.convolution.add(DNNL_ARG_DIFF_BIAS, d.bias, engine);
      add_scratchpad(entry, description.scratchpad_desc());
      const memory::desc given = hwio(shape, types.weight);
      if ((flags & kAccumulate) || description.diff_weights_desc() != given)
        add_reorder(entry, description.diff_weights_desc(), given, description.diff_weights_desc(),
                    flags & kAccumulate);
      return entry;
    }
    if (kind == kBackwardData) {
      const auto description = describe_backward_data(engine, d, hint, attr);
      return create_per_sample<BackwardData>(shape, kind, flags, description, description.diff_src_desc(),
                                             DNNL_ARG_DIFF_SRC, description.diff_dst_desc(), DNNL_ARG_DIFF_DST);
    }
    dnnl::post_ops post_ops;
    if (flags & kSum) post_ops.append_sum(1.0f);
    attr.set_post_ops(post_ops);
    const auto description = describe_forward(engine, d, attr);
    return create_per_sample<Forward>(shape, kind, flags, description, description.src_desc(), DNNL_ARG_SRC,
                                      description.dst_desc(), DNNL_ARG_DST);
  }

  // Forward and backward data. The convolutions by matrix products divide the work by the batch and round accordingly
  // (and some are wrong with more than one image): they get one image at a time.
  template <class Primitive, class Description>
  Entry create_per_sample(const Convolution& shape, Kind kind, int64_t flags, const Description& description,
                          const memory::desc& x, int x_argument, const memory::desc& y, int y_argument) {
    if (shape.n > 1 && by_matrix_product(description.impl_info_str())) {
      Convolution one = shape;
      one.n = 1;
      Entry entry = create(one, kind, flags);
      entry.calls = shape.n;
      return entry;
    }
    const Types types = types_of(shape, kind);
    Entry entry;
    entry.x_step = shape.h * shape.w * shape.c * static_cast<int64_t>(memory::data_type_size(types.x));
    entry.y_step = shape.oh * shape.ow * shape.k * static_cast<int64_t>(memory::data_type_size(types.y));
    entry.convolution.primitive = Primitive(description);
    entry.convolution.add(x_argument, x, engine);
    entry.convolution.add(y_argument, y, engine);
    entry.convolution.add(DNNL_ARG_WEIGHTS, description.weights_desc(), engine);
    if (flags & kBias) entry.convolution.add(DNNL_ARG_BIAS, bias_desc(shape), engine);
    add_scratchpad(entry, description.scratchpad_desc());
    entry.weight = description.weights_desc();
    const memory::desc given = hwio(shape, operand_type(shape.precision));
    if (description.weights_desc() != given)
      add_reorder(entry, given, description.weights_desc(), description.weights_desc(), false);
    return entry;
  }

  void add_scratchpad(Entry& entry, const memory::desc& desc) {
    entry.scratchpad_bytes = desc.get_size();
    if (entry.scratchpad_bytes > 0) entry.convolution.add(DNNL_ARG_SCRATCHPAD, desc, engine);
  }

  void add_reorder(Entry& entry, const memory::desc& from, const memory::desc& to, const memory::desc& packed,
                   bool accumulate) {
    entry.packed_bytes = packed.get_size();
    entry.reorder = prepared_reorder(engine, from, to, accumulate);
  }

  void execute(Entry& entry) {
    if (entry.scratchpad_bytes > 0)
      entry.convolution.set(DNNL_ARG_SCRATCHPAD, scratch.get(kOneDnnScratchpad, entry.scratchpad_bytes));
    entry.convolution.primitive.execute(stream, entry.convolution.arguments);
  }

  void execute_per_sample(Entry& entry, int x_argument, const void* x, int y_argument, const void* y) {
    for (int64_t call = 0; call < entry.calls; ++call) {
      entry.convolution.set(x_argument, static_cast<const char*>(x) + call * entry.x_step);
      entry.convolution.set(y_argument, static_cast<const char*>(y) + call * entry.y_step);
      execute(entry);
    }
  }

  void reorder(Entry& entry, const void* from, void* to) {
    entry.reorder.set(DNNL_ARG_FROM, from);
    entry.reorder.set(DNNL_ARG_TO, to);
    entry.reorder.primitive.execute(stream, entry.reorder.arguments);
  }

  // Gives the primitive the weight in the layout that it reads.
  void set_weight(Entry& entry, const Weight& weight) {
    const char* const begin = weight.operand.as<char>();
    const auto plain = [&] { return weight.make ? weight.make() : weight.rows(); };
    if (entry.packed_bytes == 0) return entry.convolution.set(DNNL_ARG_WEIGHTS, plain());
    const auto place = packed.use({begin, begin + weight.operand.bytes(), weight.rows(), weight.form}, entry.weight);
    void* const to = place.data != nullptr ? place.data : scratch.get(kPackedWeights, entry.packed_bytes);
    if (!place.filled) reorder(entry, plain(), to);
    entry.convolution.set(DNNL_ARG_WEIGHTS, to);
  }
};

Primitives::Primitives(Scratch& scratch, const OpenOptions& options) {
  guarded("open", [&] { impl_ = std::make_unique<Impl>(scratch, options); });
}
Primitives::~Primitives() = default;

void Primitives::convolution(const Convolution& shape, const void* x, const Weight& weight, const float* bias,
                             bool accumulate, void* y) {
  guarded("convolution", [&] {
    Entry& entry = impl_->find(shape, kForward, (bias ? kBias : 0) | (accumulate ? kSum : 0));
    impl_->set_weight(entry, weight);
    if (bias) entry.convolution.set(DNNL_ARG_BIAS, bias);
    impl_->execute_per_sample(entry, DNNL_ARG_SRC, x, DNNL_ARG_DST, y);
  });
}

void Primitives::convolution_backward_data(const Convolution& shape, const void* dy, const Weight& weight, void* dx) {
  guarded("convolution backward data", [&] {
    Entry& entry = impl_->find(shape, kBackwardData, 0);
    impl_->set_weight(entry, weight);
    impl_->execute_per_sample(entry, DNNL_ARG_DIFF_SRC, dx, DNNL_ARG_DIFF_DST, dy);
  });
}

void Primitives::convolution_backward_weights(const Convolution& shape, const void* x, const void* dy, float* dweight,
                                              float* dbias, bool accumulate) {
  guarded("convolution backward weights", [&] {
    if (SplitWeights::takes(shape)) return impl_->split.gradient(shape, x, dy, dweight, dbias, accumulate);
    Entry& entry = impl_->find(shape, kBackwardWeights, (dbias ? kBias : 0) | (accumulate ? kAccumulate : 0));
    Prepared& p = entry.convolution;
    void* const packed = entry.packed_bytes > 0 ? impl_->scratch.get(kPackedWeights, entry.packed_bytes) : dweight;
    float* const bias = dbias && accumulate ? impl_->scratch.floats(kPackedBias, static_cast<size_t>(shape.k)) : dbias;
    p.set(DNNL_ARG_SRC, x);
    p.set(DNNL_ARG_DIFF_DST, dy);
    p.set(DNNL_ARG_DIFF_WEIGHTS, packed);
    if (dbias) p.set(DNNL_ARG_DIFF_BIAS, bias);
    impl_->execute(entry);
    if (entry.packed_bytes > 0) impl_->reorder(entry, packed, dweight);
    if (bias != dbias)
      for (int64_t k = 0; k < shape.k; ++k) dbias[k] += bias[k];
  });
}

void Primitives::written(const void* address, size_t bytes) { impl_->packed.written(address, bytes); }

bool gemm(char op_a, char op_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
          const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  return dnnl_sgemm(op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) == dnnl_success;
}

}  // namespace diffusion::cpu
