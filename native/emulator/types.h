// CUDA's built-in types.
#pragma once

#include <cstdint>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

#define DIFFUSION_VECTORS(T, name, alignment2, alignment4)   \
  struct name##1 { T x; };                                   \
  struct alignas(alignment2) name##2 { T x, y; };            \
  struct alignas(alignment4) name##4 { T x, y, z, w; };      \
  inline name##1 make_##name##1(T x) { return {x}; }         \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; } \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
DIFFUSION_VECTORS(float, float, 8, 16)
DIFFUSION_VECTORS(double, double, 16, 16)
DIFFUSION_VECTORS(int, int, 8, 16)
DIFFUSION_VECTORS(unsigned, uint, 8, 16)
DIFFUSION_VECTORS(short, short, 4, 8)
DIFFUSION_VECTORS(unsigned short, ushort, 4, 8)
DIFFUSION_VECTORS(signed char, char, 2, 4)
DIFFUSION_VECTORS(unsigned char, uchar, 2, 4)
DIFFUSION_VECTORS(long long, longlong, 16, 16)
#undef DIFFUSION_VECTORS

struct float3 {
  float x, y, z;
};
struct int3 {
  int x, y, z;
};
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
