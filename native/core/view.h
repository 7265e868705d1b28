// A tensor as operations see it: an address and a shape. Ownership lives in storage.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#if defined(__CUDACC__)
#define DIFFUSION_HD __host__ __device__ __forceinline__
#else
#define DIFFUSION_HD inline __attribute__((always_inline))
#endif

namespace diffusion {

enum class DType : int32_t { f32 = 0, bf16 = 1, u8 = 2, i32 = 3 };

inline constexpr size_t bytes_of(DType dtype) { return dtype == DType::u8 ? 1 : dtype == DType::bf16 ? 2 : 4; }

inline constexpr int kMaxRank = 6;

struct View {
  void* data = nullptr;
  int64_t shape[kMaxRank] = {};
  int32_t rank = 0;
  DType dtype = DType::f32;

  DIFFUSION_HD explicit operator bool() const { return data != nullptr; }
  DIFFUSION_HD int64_t dim(int i) const { return shape[i < 0 ? rank + i : i]; }
  DIFFUSION_HD int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < kMaxRank; ++i)  // a constant bound keeps the shape in a GPU's registers
      if (i < rank) n *= shape[i];
    return n;
  }
  int64_t bytes() const { return size() * static_cast<int64_t>(bytes_of(dtype)); }

  // Rows of the last axis, and samples of the first.
  DIFFUSION_HD int64_t channels() const { return dim(-1); }
  DIFFUSION_HD int64_t rows() const { return size() / channels(); }
  DIFFUSION_HD int64_t per_sample() const { return size() / shape[0]; }

  template <class T>
  DIFFUSION_HD T* as() const {
    return static_cast<T*>(data);
  }
  DIFFUSION_HD float* f32() const { return as<float>(); }
  DIFFUSION_HD int32_t* i32() const { return as<int32_t>(); }
};

// How an operation uses an operand; the queue derives failure marking from it.
struct In : View {};     // read
struct Out : View {};    // wholly overwritten
struct InOut : View {};  // updated in place
struct OptIn : View {};  // may be absent: data == nullptr
struct OptOut : View {};
struct OptInOut : View {};
struct State : View {};  // updated in place, and still sound with its old contents when the operation is not run
struct OptState : View {};

template <class T, class... Kinds>
inline constexpr bool kIsOneOf = (std::is_same_v<T, Kinds> || ...);
template <class T>
inline constexpr bool kReads = kIsOneOf<T, In, OptIn, InOut, OptInOut, State, OptState>;
template <class T>
inline constexpr bool kWrites = kIsOneOf<T, Out, OptOut, InOut, OptInOut>;
template <class T>
inline constexpr bool kUpdates = kIsOneOf<T, InOut, OptInOut>;
template <class T>
inline constexpr bool kIsState = kIsOneOf<T, State, OptState>;
template <class T>
inline constexpr bool kOptional = kIsOneOf<T, OptIn, OptOut, OptInOut, OptState>;

// Where an operation's random numbers come from (random.h has the definition). `state` is an i32 tensor of one to four
// elements {seed low, seed high, step, first sample}: its seed replaces, its step and first sample are added.
struct Rng {
  OptIn state;
  uint32_t seed_low = 0, seed_high = 0, stream = 0, step = 0, first_sample = 0;
};

}  // namespace diffusion
