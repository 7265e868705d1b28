// Random numbers as a pure function of (seed, stream, sample, step, element): Philox4x32-10 (Salmon et al., SC 2011).
//
//   key     = { seed low, seed high }
//   counter = { element / 4, sample, step, stream }          → four words for elements 4k … 4k+3 of one sample
//
// Normals are Box–Muller pairs: words 0, 1 give elements 0, 1 and words 2, 3 give elements 2, 3.
// Logarithm, sine and cosine are polynomials (coefficients of the Cephes library's single-precision functions) of
// explicit fused multiply-adds, so that every backend and every vector width gives the same bits: compile with
// -ffp-contract=off.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/view.h"

namespace diffusion {

struct Words {
  uint32_t w0, w1, w2, w3;
};

DIFFUSION_HD Words philox(uint32_t key0, uint32_t key1, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ key0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ key1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

// A seed source resolved at the moment an operation runs.
struct Generator {
  uint32_t key0, key1, stream, step, first_sample;

  DIFFUSION_HD Words words(uint32_t sample, uint32_t block) const {
    return philox(key0, key1, block, first_sample + sample, step, stream);
  }
};

// Reads `rng.state` (device memory), so call it where the operation runs.
DIFFUSION_HD Generator resolve(const Rng& rng) {
  Generator g{rng.seed_low, rng.seed_high, rng.stream, rng.step, rng.first_sample};
  if (rng.state.data != nullptr) {
    const auto* state = static_cast<const uint32_t*>(rng.state.data);
    const int64_t n = rng.state.size();
    g.key0 = state[0];
    g.key1 = n > 1 ? state[1] : 0u;
    if (n > 2) g.step += state[2];
    if (n > 3) g.first_sample += state[3];
  }
  return g;
}

DIFFUSION_HD float bits_to_float(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}
DIFFUSION_HD uint32_t float_to_bits(float f) {
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return bits;
}

// In [2^-33, 1]: never zero, so that its logarithm is finite.
DIFFUSION_HD float uniform_open(uint32_t word) { return fmaf(static_cast<float>(word), 0x1p-32f, 0x1p-33f); }

// In [0, 1): 24 bits.
DIFFUSION_HD float uniform(uint32_t word) { return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24f; }

// An integer in [0, n), n < 2^31, by multiply-high.
DIFFUSION_HD uint32_t below(uint32_t word, uint32_t n) { return static_cast<uint32_t>((uint64_t{word} * n) >> 32); }

// ln u for u in (0, 1].
DIFFUSION_HD float log_unit(float u) {
  // u = m · 2^e with m in [√½, √2)
  const uint32_t shifted = float_to_bits(u) - 0x3F3504F3u;
  const float e = static_cast<float>(static_cast<int32_t>(shifted) >> 23);
  const float m = bits_to_float((shifted & 0x007FFFFFu) + 0x3F3504F3u);
  const float f = m - 1.0f;
  const float z = f * f;
  float p = 7.0376836292e-2f;
  p = fmaf(p, f, -1.1514610310e-1f);
  p = fmaf(p, f, 1.1676998740e-1f);
  p = fmaf(p, f, -1.2420140846e-1f);
  p = fmaf(p, f, 1.4249322787e-1f);
  p = fmaf(p, f, -1.6668057665e-1f);
  p = fmaf(p, f, 2.0000714765e-1f);
  p = fmaf(p, f, -2.4999993993e-1f);
  p = fmaf(p, f, 3.3333331174e-1f);
  float y = (f * z) * p;
  y = fmaf(e, -2.12194440e-4f, y);
  y = fmaf(z, -0.5f, y);
  return fmaf(e, 0.693359375f, f + y);
}

// Two independent standard normals from two words.
DIFFUSION_HD void box_muller(uint32_t radius_word, uint32_t angle_word, float& a, float& b) {
  const float radius = sqrtf(-2.0f * log_unit(uniform_open(radius_word)));
  // angle = 2π · word / 2^32 = (π/2)·quarter + theta, theta in [-π/4, π/4)
  const uint32_t quarter = (angle_word + 0x20000000u) >> 30;
  const float theta =
      static_cast<float>(static_cast<int32_t>(angle_word - (quarter << 30))) * 1.46291807926715968105e-9f;
  const float z = theta * theta;
  float s = -1.9515295891e-4f;
  s = fmaf(s, z, 8.3321608736e-3f);
  s = fmaf(s, z, -1.6666654611e-1f);
  const float sine = fmaf(theta * z, s, theta);
  float c = 2.443315711809948e-5f;
  c = fmaf(c, z, -1.388731625493765e-3f);
  c = fmaf(c, z, 4.166664568298827e-2f);
  const float cosine = fmaf(z * z, c, fmaf(z, -0.5f, 1.0f));
  const bool odd = (quarter & 1u) != 0;
  const float x = odd ? sine : cosine;
  const float y = odd ? cosine : sine;
  // quarter 0: (c, s)  1: (-s, c)  2: (-c, -s)  3: (s, -c)
  const uint32_t sign_x = (((quarter + 1u) >> 1) & 1u) << 31;
  const uint32_t sign_y = ((quarter >> 1) & 1u) << 31;
  a = radius * bits_to_float(float_to_bits(x) ^ sign_x);
  b = radius * bits_to_float(float_to_bits(y) ^ sign_y);
}

// The four normals of one counter.
struct Normals {
  float z0, z1, z2, z3;
};
DIFFUSION_HD Normals normals(const Words& w) {
  Normals n;
  box_muller(w.w0, w.w1, n.z0, n.z1);
  box_muller(w.w2, w.w3, n.z2, n.z3);
  return n;
}

}  // namespace diffusion
