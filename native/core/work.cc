#include "core/work.h"

namespace diffusion {

const char* name_of(DType dtype) {
  constexpr const char* kNames[] = {"f32", "bf16", "u8", "i32"};
  return kNames[static_cast<size_t>(dtype)];
}

void append_shape(std::string& list, const View& view) {
  if (!list.empty()) list += ", ";
  for (int32_t axis = 0; axis < view.rank; ++axis) {
    if (axis > 0) list += "×";
    list += std::to_string(view.shape[axis]);
  }
}

Work work_of_transfer(const char* name, int64_t bytes, bool reads, bool writes) {
  const std::string size = std::to_string(bytes);
  Work work;
  work.name = name;
  work.shapes = (reads ? size + " →" : "→") + (writes ? " " + size : "");
  work.bytes = bytes * (int64_t{reads} + int64_t{writes});
  return work;
}

}  // namespace diffusion
