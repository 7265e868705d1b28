// Primitives of oneDNN ready to be called, and by what they are found again. For the files of this folder.
#pragma once

#include <cstddef>
#include <cstring>
#include <unordered_map>

#include "cpu/runtime/onednn.h"

namespace diffusion::cpu {

inline constexpr int64_t kBias = 1, kSum = 2, kAccumulate = 4;  // flags of a primitive

struct Key {
  Convolution shape;
  int64_t kind, flags;
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  size_t operator()(const Key& key) const {
    uint64_t words[sizeof(Key) / sizeof(uint64_t)];
    static_assert(sizeof words == sizeof key);
    std::memcpy(words, &key, sizeof key);
    uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a by words
    for (const uint64_t word : words) hash = (hash ^ word) * 0x100000001b3u;
    return static_cast<size_t>(hash ^ (hash >> 32));
  }
};

// A primitive with its memory objects, whose addresses each call sets.
struct Prepared {
  dnnl::primitive primitive;
  std::unordered_map<int, memory> arguments;

  void add(int argument, const memory::desc& desc, const dnnl::engine& engine) {
    arguments.emplace(argument, memory(desc, engine, DNNL_MEMORY_NONE));
  }
  // Only where it changed: setting an address clears the padding behind it.
  void set(int argument, const void* address) {
    memory& target = arguments.at(argument);
    if (target.get_data_handle() != address) target.set_data_handle(const_cast<void*>(address));
  }
};

// As many are kept.
inline constexpr size_t kMaxPrimitives = 4096;

// From one layout to another, or onto what is there.
inline Prepared prepared_reorder(const dnnl::engine& engine, const memory::desc& from, const memory::desc& to,
                                 bool accumulate) {
  dnnl::post_ops post_ops;
  if (accumulate) post_ops.append_sum(1.0f);
  dnnl::primitive_attr attr;
  attr.set_post_ops(post_ops);
  Prepared reorder;
  reorder.primitive = dnnl::reorder(dnnl::reorder::primitive_desc(engine, from, engine, to, attr));
  reorder.add(DNNL_ARG_FROM, from, engine);
  reorder.add(DNNL_ARG_TO, to, engine);
  return reorder;
}

}  // namespace diffusion::cpu
