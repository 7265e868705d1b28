// Weights in the layouts that oneDNN reads, kept while nobody writes the weights themselves. Sampling packs each once;
// training, which writes them in every step, keeps nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>

#include "core/backend.h"

namespace diffusion::cpu {

class PackedWeights {
 public:
  explicit PackedWeights(const OpenOptions& options) : options_(options) {}
  ~PackedWeights();

  // What a copy is made of: the operand [begin, end) from `rows` on, in one of the forms that are derived from it.
  struct Source {
    const char *begin, *end, *rows;
    int64_t form;
  };
  // Where a copy is, or should be put; null data: nowhere, it is not worth keeping yet.
  struct Place {
    void* data;
    bool filled;
  };

  // Counts a use. A place that is not filled must be filled now.
  Place use(const Source& source, const dnnl::memory::desc& layout);
  // These bytes are about to change.
  void written(const void* address, size_t bytes);

 private:
  struct Free {
    void operator()(void* data) const { std::free(data); }
  };
  struct Copy {
    Source source;
    dnnl::memory::desc layout;
    std::unique_ptr<void, Free> data;
    int64_t uses = 0;      // since the last write
    int64_t patience = 1;  // uses without a copy before one is made
    int64_t last_use = 0;
  };
  using Copies = std::multimap<const char*, Copy>;  // by their operand's address

  bool make_room(size_t bytes);
  void drop(Copy& copy);

  OpenOptions options_;
  Copies copies_;
  int64_t uses_ = 0;
  size_t total_ = 0;
  std::ptrdiff_t longest_ = 0;  // bytes of an operand
};

}  // namespace diffusion::cpu
