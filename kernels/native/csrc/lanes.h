// Vectors as wide as the registers of a form, so that every form of an operation is the same text.
// (Wider ones are carried through memory by the compiler: a product ran at a twentieth.)
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#define EPSILON_JOIN_(a, b) a##b
#define EPSILON_JOIN(a, b) EPSILON_JOIN_(a, b)

#if defined(__AVX512F__)
constexpr long LANES = 16;
#elif defined(__AVX2__)
constexpr long LANES = 8;
#else
constexpr long LANES = 4;
#endif

// The aligned(4) types may stand on any float or word of an array.
typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef float LooseFloats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef float HalfFloats __attribute__((vector_size(2 * LANES)));
typedef double HalfDoubles __attribute__((vector_size(4 * LANES)));

static inline Floats load(const float* from) { return *reinterpret_cast<const LooseFloats*>(from); }
static inline void store(float* to, Floats value) { *reinterpret_cast<LooseFloats*>(to) = value; }

static inline double sum_of(Floats value) {
  double total = 0;
  for (long lane = 0; lane < LANES; ++lane) total += static_cast<double>(value[lane]);
  return total;
}

// total += value, in float64.
static inline void add_wide(HalfDoubles* total, Floats value) {
  HalfFloats half[2];
  std::memcpy(half, &value, sizeof half);
  total[0] += __builtin_convertvector(half[0], HalfDoubles);
  total[1] += __builtin_convertvector(half[1], HalfDoubles);
}

static inline double sum_of(const HalfDoubles* value) {
  const HalfDoubles both = value[0] + value[1];
  double total = 0;
  for (long lane = 0; lane < LANES / 2; ++lane) total += both[lane];
  return total;
}
