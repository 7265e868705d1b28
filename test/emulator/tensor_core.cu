// A matrix product by cp.async, ldmatrix and mma, y[kM, kN] = a[kM, K] · b[N, K]ᵀ with N < kN, and what becomes of it
// when one thing is wrong.
#include "cases.h"
#include "cuda/ptx.cuh"

namespace {

using namespace diffusion::cuda;

enum class Flaw {
  none,
  no_wait,           // the pipeline's wait is missing
  late_wait,         // waits for one group too few
  no_barrier,        // reads what other threads have copied without a barrier after the wait
  warp_barrier,      // the barrier of a warp where that of the block belongs
  early_copy,        // overwrites a stage that others still read
  pitch,             // rows that do not begin at a multiple of 16 bytes
  outside,           // rows below the end of shared memory
  swapped,           // two registers of a fragment exchanged
  not_transposed,    // ldmatrix without .trans
  global_alignment,  // a source between two multiples of 16 bytes
  left_before_mma,   // a lane leaves before the others multiply
  half_a_warp,       // half of the lanes come to ldmatrix
  copies_under_way,  // ends without having waited
};

constexpr int kM = 32, kN = 32, kStep = 16, kStages = 3, kThreads = 64;

template <Flaw kFlaw>
struct Tiles {
  static constexpr int kPitch = kFlaw == Flaw::pitch ? kStep + 4 : kStep + 8;  // elements
  static constexpr int kStage = (kM + kN) * kPitch;
  static constexpr size_t kBytes = kStages * kStage * sizeof(uint16_t);
};

// Each of the two warps computes 16 rows.
template <Flaw kFlaw>
KERNEL(kThreads)
product(const uint16_t* a, const uint16_t* b, float* y, int n, int k) {
  using T = Tiles<kFlaw>;
  DYN_SMEM(uint16_t, tiles);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32, steps = k / kStep;
  const auto load = [&](int step) {
    uint16_t* stage = tiles + step % kStages * T::kStage;
    for (int i = thread; i < 2 * (kM + kN); i += kThreads) {
      const int row = i / 2, part = i % 2 * 8;
      const bool valid = row < kM + n;
      const uint16_t* from = row < kM ? a + row * k : b + (row - kM) * k;
      if (kFlaw == Flaw::global_alignment) from += 1;
      cp_async_16(stage + row * T::kPitch + part, valid ? from + step * kStep + part : a, valid);
    }
  };
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < steps) load(s);
    cp_async_commit();
  }
  float sums[kN / 8][4] = {};
  for (int step = 0; step < steps; ++step) {
    if (kFlaw == Flaw::early_copy && step + kStages - 1 < steps) load(step + kStages - 1);
    if (kFlaw != Flaw::no_wait) cp_async_wait<kFlaw == Flaw::late_wait ? kStages - 1 : kStages - 2>();
    if (kFlaw == Flaw::warp_barrier)
      __syncwarp();
    else if (kFlaw != Flaw::no_barrier)
      __syncthreads();
    if (kFlaw != Flaw::early_copy && step + kStages - 1 < steps) load(step + kStages - 1);
    cp_async_commit();
    const uint16_t* rows = tiles + step % kStages * T::kStage;
    const uint16_t* columns = rows + kM * T::kPitch;
    if (kFlaw == Flaw::outside) columns += (kStages - step % kStages) * T::kStage;
    uint32_t left[4];
    if (kFlaw == Flaw::half_a_warp && lane >= 16) continue;
    ldmatrix_x4(left, rows + (warp * 16 + lane % 16) * T::kPitch + lane / 16 * 8);
    if (kFlaw == Flaw::swapped) {
      const uint32_t other = left[1];
      left[1] = left[2];
      left[2] = other;
    }
    if (kFlaw == Flaw::left_before_mma && lane == 5) return;
    for (int j = 0; j < kN / 8; ++j) {
      uint32_t right[2];
      ldmatrix_x2(right, columns + (j * 8 + lane % 8) * T::kPitch + lane / 8 % 2 * 8);
      mma_bf16(sums[j], left, right);
    }
  }
  if (kFlaw != Flaw::copies_under_way) cp_async_wait<0>();
  if (kFlaw == Flaw::copies_under_way) cp_async_16(tiles + thread * 8, a, true);
  for (int j = 0; j < kN / 8; ++j)
    for (int i = 0; i < 4; ++i) y[(warp * 16 + lane / 4 + i / 2 * 8) * kN + j * 8 + lane % 4 * 2 + i % 2] = sums[j][i];
}

// y[16, 8] = aᵀ · b with a[16, 16] and b[16, 8] as they lie in memory: both have to be turned round.
template <Flaw kFlaw>
KERNEL(32)
transposed(const uint16_t* a, const uint16_t* b, float* y) {
  DYN_SMEM(uint16_t, tile);
  const int lane = static_cast<int>(threadIdx.x);
  uint16_t* columns = tile + 16 * 16;
  for (int i = lane; i < 16 * 16; i += 32) tile[i] = a[i];
  for (int i = lane; i < 16 * 8; i += 32) columns[i] = b[i];
  __syncwarp();
  uint32_t left[4], right[2];
  ldmatrix_x4_trans(left, tile + (lane / 16 * 8 + lane % 8) * 16 + lane / 8 % 2 * 8);
  if (kFlaw == Flaw::not_transposed)
    ldmatrix_x2(right, columns + lane % 16 * 8);
  else
    ldmatrix_x2_trans(right, columns + lane % 16 * 8);
  float sums[4] = {};
  mma_bf16(sums, left, right);
  for (int i = 0; i < 4; ++i) y[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

KERNEL(32) packed(const float* x, float* y) {
  const uint32_t pair = pack_bf16(x[2 * threadIdx.x], x[2 * threadIdx.x + 1]);
  y[2 * threadIdx.x] = __uint_as_float(pair << 16);
  y[2 * threadIdx.x + 1] = __uint_as_float(pair & 0xffff0000u);
}

// Small integers, exact in bf16 and so in every sum.
int whole(size_t i, int seed) {
  return static_cast<int>((i * 2654435761u + static_cast<unsigned>(seed)) >> 16) % 9 - 4;
}
std::vector<uint16_t> matrix(size_t count, int seed) {
  std::vector<uint16_t> bits(count);
  for (size_t i = 0; i < count; ++i)
    bits[i] = static_cast<uint16_t>(__float_as_uint(static_cast<float>(whole(i, seed))) >> 16);
  return bits;
}
float value(uint16_t bits) { return __uint_as_float(uint32_t{bits} << 16); }

template <Flaw kFlaw = Flaw::none>
std::string multiply() {
  constexpr int kColumns = 27, kInner = 5 * kStep;
  const auto a = matrix(kM * kInner + 8, 1), b = matrix(kColumns * kInner + 8, 2);
  std::vector<float> expected(kM * kN, 0.0f);
  for (int i = 0; i < kM; ++i)
    for (int j = 0; j < kColumns; ++j)
      for (int p = 0; p < kInner; ++p)
        expected[static_cast<size_t>(i * kN + j)] +=
            value(a[static_cast<size_t>(i * kInner + p)]) * value(b[static_cast<size_t>(j * kInner + p)]);
  float* y = cases::on_device(std::vector<float>(expected.size(), NAN));
  return cases::compare(y, expected, 0, [&](cudaStream_t stream) {
    LAUNCH(product<kFlaw>, 1, kThreads, Tiles<kFlaw>::kBytes, stream, cases::on_device(a), cases::on_device(b), y,
           kColumns, kInner);
  });
}

template <Flaw kFlaw = Flaw::none>
std::string multiply_transposed() {
  const auto a = matrix(16 * 16, 3), b = matrix(16 * 8, 4);
  std::vector<float> expected(16 * 8, 0.0f);
  for (size_t i = 0; i < 16; ++i)
    for (size_t j = 0; j < 8; ++j)
      for (size_t p = 0; p < 16; ++p) expected[i * 8 + j] += value(a[p * 16 + i]) * value(b[p * 8 + j]);
  float* y = cases::on_device(std::vector<float>(expected.size(), NAN));
  return cases::compare(y, expected, 0, [&](cudaStream_t stream) {
    LAUNCH(transposed<kFlaw>, 1, 32, (16 + 8) * 16 * 2, stream, cases::on_device(a), cases::on_device(b), y);
  });
}

std::string pack() {
  // Ties, both ways; subnormals; what rounds to infinity.
  const std::vector<std::pair<uint32_t, uint32_t>> known = {
      {0x3f808000, 0x3f800000}, {0x3f818000, 0x3f820000}, {0x3f808001, 0x3f810000}, {0xbf808000, 0xbf800000},
      {0x00008000, 0x00000000}, {0x00018000, 0x00020000}, {0x7f7fffff, 0x7f800000}, {0x80000000, 0x80000000}};
  std::vector<float> x(64), expected(64);
  for (size_t i = 0; i < 64; ++i) {
    x[i] = __uint_as_float(known[i % known.size()].first);
    expected[i] = __uint_as_float(known[i % known.size()].second);
  }
  float* y = cases::on_device(std::vector<float>(64, NAN));
  std::vector<float> found(64);
  LAUNCH(packed, 1, 32, 0, nullptr, cases::on_device(x), y);
  cudaMemcpy(found.data(), y, 256, cudaMemcpyDeviceToHost);
  for (size_t i = 0; i < 64; ++i)
    if (__float_as_uint(found[i]) != __float_as_uint(expected[i])) return "wrong";
  return "sound";
}

const cases::Add more = {
    {"tensor core: product", multiply<>},
    {"tensor core: transposed product", multiply_transposed<>},
    {"tensor core: pack_bf16", pack},
    {"tensor core: no wait", multiply<Flaw::no_wait>},
    {"tensor core: wait too late", multiply<Flaw::late_wait>},
    {"tensor core: no barrier", multiply<Flaw::no_barrier>},
    {"tensor core: barrier of a warp", multiply<Flaw::warp_barrier>},
    {"tensor core: copy too early", multiply<Flaw::early_copy>},
    {"tensor core: pitch", multiply<Flaw::pitch>},
    {"tensor core: outside shared memory", multiply<Flaw::outside>},
    {"tensor core: swapped fragment", multiply<Flaw::swapped>},
    {"tensor core: not transposed", multiply_transposed<Flaw::not_transposed>},
    {"tensor core: misaligned source", multiply<Flaw::global_alignment>},
    {"tensor core: left before mma", multiply<Flaw::left_before_mma>},
    {"tensor core: half a warp", multiply<Flaw::half_a_warp>},
    {"tensor core: copies under way at the end", multiply<Flaw::copies_under_way>},
};

}  // namespace
