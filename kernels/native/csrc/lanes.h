// Sixteen lanes at once, written once: the compiler lowers these vectors to AVX-512, to AVX2 or to
// whatever the machine has, so that every form of an operation is the same text.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#define EPSILON_JOIN_(a, b) a##b
#define EPSILON_JOIN(a, b) EPSILON_JOIN_(a, b)

constexpr long LANES = 16;

// The aligned(4) types may stand on any float or word of an array.
typedef float Floats __attribute__((vector_size(64)));
typedef float LooseFloats __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef float HalfFloats __attribute__((vector_size(32)));
typedef double HalfDoubles __attribute__((vector_size(64)));

static inline Floats load(const float* from) { return *reinterpret_cast<const LooseFloats*>(from); }
static inline void store(float* to, Floats value) { *reinterpret_cast<LooseFloats*>(to) = value; }
static inline Floats all(float value) { return value - Floats{}; }
static inline Words all(uint32_t value) { return value - Words{}; }

static inline double sum_of(Floats value) {
  double total = 0;
  for (long lane = 0; lane < LANES; ++lane) total += static_cast<double>(value[lane]);
  return total;
}
