// Neighbouring values that a thread moves together: 16 bytes at once where the address allows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda/convert.cuh"
#include "cuda/ptx.cuh"
#include "cuda/simt.h"

namespace diffusion::cuda {

template <class T, int n>
struct alignas(n * sizeof(T) < 16 ? n * sizeof(T) : 16) Pack {
  T at[n];
};

template <class T>
using Four = Pack<T, 4>;

// How many values of the widest of these types make 16 bytes: what a thread takes of each array, so that neighbouring
// threads access neighbouring memory in all of them.
template <class... T>
inline constexpr int kPack = 16 / static_cast<int>(std::max({sizeof(T)...}));

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(Bf16 x) { return widen(x); }

template <class T>
DEVICE T from_float(float x) {
  if constexpr (std::is_same_v<T, float>)
    return x;
  else
    return to_bf16(x);
}

// The first `count` of n values at `from`; the rest are zero. `whole` promises alignment when count is n.
template <int n = 4, class T>
DEVICE Pack<T, n> load(const T* from, int count, bool whole) {
  if (whole && count == n) return *reinterpret_cast<const Pack<T, n>*>(from);
  Pack<T, n> pack{};
  for (int k = 0; k < n; ++k)
    if (k < count) pack.at[k] = from[k];
  return pack;
}

template <class T, int n>
DEVICE void store(T* to, int count, bool whole, const Pack<T, n>& pack) {
  if (whole && count == n) {
    *reinterpret_cast<Pack<T, n>*>(to) = pack;
    return;
  }
  for (int k = 0; k < n; ++k)
    if (k < count) to[k] = pack.at[k];
}

// The same as f32, whatever lies in memory.
template <int n, class T>
DEVICE Pack<float, n> load_floats(const T* from, int count, bool whole) {
  const Pack<T, n> raw = load<n>(from, count, whole);
  Pack<float, n> pack;
  for (int k = 0; k < n; ++k) pack.at[k] = to_float(raw.at[k]);
  return pack;
}

template <int n>
DEVICE Pack<Bf16, n> narrow(const Pack<float, n>& pack) {
  static_assert(n % 2 == 0);
  Pack<Bf16, n> y;
  for (int k = 0; k < n; k += 2) {
    const uint32_t two = pack_bf16(pack.at[k], pack.at[k + 1]);
    memcpy(&y.at[k], &two, sizeof two);
  }
  return y;
}

// Rounded to nearest even.
template <int n>
DEVICE void store(Bf16* to, int count, bool whole, const Pack<float, n>& pack) {
  store(to, count, whole, narrow(pack));
}

}  // namespace diffusion::cuda
