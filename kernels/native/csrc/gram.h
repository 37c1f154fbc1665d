// Norms without the gradients: ||sum_t g_t a_t^T||^2 = sum over t, s of <a_t, a_s> <g_t, g_s>
// (Goodfellow 2015; Bu et al. 2022), lower triangle only, with a proven upper bound beside it.

constexpr double UNIT = 0x1p-24;  // the rounding of one float32 operation

#ifdef __AVX512F__
constexpr long TILE_ROWS = 8;
#else
constexpr long TILE_ROWS = 4;  // as many sums as there are registers, with what feeds them
#endif
constexpr long TILE_VECTORS = 2, PANEL = TILE_VECTORS * LANES;

// What a round of a transposition takes from two rows: the masks must be constants of the compiler.
template <int STEP, int... LANE>
static inline Ints low_half(std::integer_sequence<int, LANE...>) {
  return Ints{(LANE & STEP ? static_cast<int>(LANES) + LANE - STEP : LANE)...};
}

template <int STEP, typename Vector>
static inline void transpose_from(Vector* block) {
  const Ints low = low_half<STEP>(std::make_integer_sequence<int, LANES>());
#pragma GCC unroll 16
  for (int i = 0; i < LANES; ++i) {
    if (i & STEP) continue;
    const Vector a = block[i], b = block[i + STEP];
    block[i] = __builtin_shuffle(a, b, low);
    block[i + STEP] = __builtin_shuffle(a, b, low + STEP);
  }
  if constexpr (2 * STEP < LANES) transpose_from<2 * STEP>(block);
}

// A block of LANES x LANES words, rows to columns.
template <typename Vector>
static inline void transpose(Vector* block) {
  transpose_from<1>(block);
}

#if defined(__AVX512VNNI__) || (defined(__AVX2__) && !defined(__AVX512F__))
#define EPSILON_INTEGERS

// Rows as integers of 16 bits with one scale a row, two to a word, at twice the rate of float32.
// The scale keeps every packed row shorter than sqrt(2^31), so that no sum of products, nor any
// part of one, leaves int32 (Cauchy and Schwarz): the products are exact, and the error of the
// packing is measured. (bf16 has the same rate, a coarser grid, and stands only on processors that
// also have this.)
typedef Ints Word;
typedef int32_t Cell;
constexpr long COLUMNS_A_WORD = 2;
constexpr double LONGEST = 46340.0, HIGHEST = 32767.0;

#ifdef __AVX512VNNI__
constexpr long CHUNK = 1L << 40;

static inline Word multiplied(Word sum, Word x, Word y) {
  // Not the intrinsic: the compiler would copy each sum before it is added to.
  __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
  return sum;
}

// Two vectors of a row as one of words. Which two columns share a word, and where it stands, is
// the same for every row, and no product depends on it.
static inline Word narrowed(Ints first, Ints second) {
  return (Word)_mm512_inserti64x4(
      _mm512_castsi256_si512(_mm512_cvtepi32_epi16((__m512i)first)),
      _mm512_cvtepi32_epi16((__m512i)second), 1);
}

static inline Ints nearest(Floats value) { return (Ints)_mm512_cvtps_epi32((__m512)value); }
#else
// So many words of two panels (24 KiB) stay in the nearest cache.
constexpr long CHUNK = 192;

static inline Word multiplied(Word sum, Word x, Word y) {
  return sum + (Word)_mm256_madd_epi16((__m256i)x, (__m256i)y);
}

static inline Word narrowed(Ints first, Ints second) {
  return (Word)_mm256_packs_epi32((__m256i)first, (__m256i)second);
}

static inline Ints nearest(Floats value) { return (Ints)_mm256_cvtps_epi32((__m256)value); }
#endif

static inline Floats as_float(Word sum) { return __builtin_convertvector(sum, Floats); }

// Roundings of one product's sum: int32 to float32 and the two scales.
static inline double roundings(long) { return 4.0; }

#else

typedef Floats Word;
typedef float Cell;
constexpr long COLUMNS_A_WORD = 1, CHUNK = 512;

static inline Word multiplied(Word sum, Word x, Word y) { return sum + x * y; }

static inline Floats as_float(Word sum) { return sum; }

static inline double roundings(long columns) {
  return static_cast<double>(std::min(columns, CHUNK) + columns / CHUNK + 4);
}

#endif

typedef Word LooseWord __attribute__((aligned(4), may_alias));

// One factor of one example: panels of PANEL rows, in each the words of all its rows, column by
// column. reach[t] >= |x_t| and >= |packed x_t|; miss[t] >= |x_t - packed x_t|.
struct Panels {
  long columns, words, rows;
  std::vector<Cell> cells, near;  // near: the words of LANES rows, row by row
  std::vector<float> scale;
  std::vector<double> reach, miss;

  Panels(long positions, long width)
      : columns(width),
        words((width + COLUMNS_A_WORD * LANES - 1) / (COLUMNS_A_WORD * LANES) * LANES),
        rows((positions + PANEL - 1) / PANEL * PANEL),
        cells(static_cast<size_t>(rows * words)),
        near(static_cast<size_t>(LANES * words)),
        scale(static_cast<size_t>(rows)),
        reach(static_cast<size_t>(rows)),
        miss(static_cast<size_t>(rows)) {}

  Cell* at(long row, long word) {
    return cells.data() + (row / PANEL * words + word) * PANEL + row % PANEL;
  }
};

// A vector of a row from `column` on, zeros behind its end.
static inline Floats part_of(const float* row, long column, long columns) {
  if (columns - column >= LANES) return load(row + column);
  float rest[LANES] = {};
  if (columns > column)
    std::memcpy(rest, row + column, static_cast<size_t>(columns - column) * sizeof(float));
  return load(rest);
}

static inline double root_sum(Floats squares, long columns) {
  // A lane has columns / LANES roundings; what underflows is below 2^-63 a number.
  const double grow = 1.0 + (static_cast<double>(columns) / LANES + 8) * UNIT;
  return std::sqrt(sum_of(squares)) * grow + std::sqrt(static_cast<double>(columns)) * 0x1p-63;
}

// Length and largest number of a row, the length from above. A NaN passes unseen in `peak`, not in
// the length.
static double measured(const float* row, long columns, float& peak) {
  Floats squares[4] = {};  // four chains: one would wait for itself
  Ints most[4] = {};
  auto take = [&](Floats v, int chain) {
    squares[chain] += v * v;
    // Numbers without their signs are ordered as integers are.
    const Ints size = (Ints)v & 0x7fffffff;
    most[chain] = size > most[chain] ? size : most[chain];
  };
  long k = 0;
  for (; k + 4 * LANES <= columns; k += 4 * LANES)
#pragma GCC unroll 4
    for (int chain = 0; chain < 4; ++chain) take(load(row + k + chain * LANES), chain);
  for (; k < columns; k += LANES) take(part_of(row, k, columns), 0);
  peak = 0;
  for (const Ints& chain : most)
    for (long lane = 0; lane < LANES; ++lane) peak = std::max(peak, ((Floats)chain)[lane]);
  return root_sum((squares[0] + squares[1]) + (squares[2] + squares[3]), columns);
}

#ifdef EPSILON_INTEGERS

// The words of one row, and what its integers miss of it.
static double narrow(const float* row, long columns, float inverse, float scale, long words,
                     Cell* out) {
  Floats missed[2] = {};
  auto take = [&](Floats v, int side) {
    const Ints whole = nearest(v * inverse);
    // In one rounding: a form with integers has fused products.
    const Floats off = v - __builtin_convertvector(whole, Floats) * scale;
    missed[side] += off * off;
    return whole;
  };
  long word = 0;
  auto put = [&](Floats first, Floats second) {
    *reinterpret_cast<LooseWord*>(out + word) = narrowed(take(first, 0), take(second, 1));
  };
  for (; 2 * (word + LANES) <= columns; word += LANES)
    put(load(row + 2 * word), load(row + 2 * word + LANES));
  for (; word < words; word += LANES)
    put(part_of(row, 2 * word, columns), part_of(row, 2 * word + LANES, columns));
  return root_sum(missed[0] + missed[1], columns);
}

#endif

// One row's words, into `out`, and its part of reach, miss and scale.
static void pack_row(const float* row, long t, Panels& to, Cell* out) {
  const long columns = to.columns;
  float peak = 0;
  const double length = measured(row, columns, peak);
#ifdef EPSILON_INTEGERS
  to.scale[t] = 0;
  to.reach[t] = to.miss[t] = length;
  std::fill(out, out + to.words, 0);
  // Else all of it is missed: NaN, infinity, or next to nothing.
  if (!(length < 0x1p120 && peak >= 0x1p-100f)) return;
  // Rounding to integers adds at most half the square root of the columns to a length.
  const double room = LONGEST - 0.51 * std::sqrt(static_cast<double>(columns)) - 2.0;
  const float inverse = static_cast<float>(std::min(HIGHEST / peak, room / length));
  to.scale[t] = 1.0f / inverse;
  to.miss[t] = narrow(row, columns, inverse, to.scale[t], to.words, out);
  to.reach[t] = length + to.miss[t];
#else
  to.reach[t] = length;
  std::memcpy(out, row, static_cast<size_t>(columns) * sizeof(float));
  std::fill(out + columns, out + to.words, 0.0f);
#endif
}

static void pack(const float* from, long positions, Panels& to) {
  for (long first = 0; first < to.rows; first += LANES) {
    Cell* near = to.near.data();
    for (long r = 0; r < LANES; ++r) {
      if (first + r < positions)
        pack_row(from + (first + r) * to.columns, first + r, to, near + r * to.words);
      else
        std::fill(near + r * to.words, near + (r + 1) * to.words, Cell{});
    }
    for (long word = 0; word < to.words; word += LANES) {
      Word block[LANES];
#pragma GCC unroll 16
      for (long r = 0; r < LANES; ++r)
        block[r] = *reinterpret_cast<const LooseWord*>(near + r * to.words + word);
      transpose(block);
      Cell* out = to.at(first, word);
#pragma GCC unroll 16
      for (long w = 0; w < LANES; ++w) *reinterpret_cast<LooseWord*>(out + w * PANEL) = block[w];
    }
  }
}

// out (TILE_ROWS, PANEL) (+)= the products of TILE_ROWS rows with the PANEL rows of a panel, over
// `words` words of both.
static inline void tile(const Cell* left, const Cell* right, long words, Cell* out, bool add) {
  Word sums[TILE_ROWS][TILE_VECTORS] = {};
  for (long k = 0; k < words; ++k, left += PANEL, right += PANEL) {
    Word y[TILE_VECTORS];
#pragma GCC unroll 2
    for (int c = 0; c < TILE_VECTORS; ++c)
      y[c] = *reinterpret_cast<const LooseWord*>(right + c * LANES);
#pragma GCC unroll 8
    for (int r = 0; r < TILE_ROWS; ++r) {
      const Word each = left[r] - Word{};
#pragma GCC unroll 2
      for (int c = 0; c < TILE_VECTORS; ++c) sums[r][c] = multiplied(sums[r][c], each, y[c]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < TILE_ROWS; ++r)
#pragma GCC unroll 2
    for (int c = 0; c < TILE_VECTORS; ++c) {
      LooseWord* to = reinterpret_cast<LooseWord*>(out + r * PANEL + c * LANES);
      *to = add ? *to + sums[r][c] : sums[r][c];
    }
}

// out (rows, PANEL): the products of the panel's rows with its own and all rows behind, by a chunk
// of words after the other.
static void strip(Panels& x, long panel, long positions, Cell* out) {
  const long start = panel * PANEL;
  for (long first = 0; first < x.words; first += CHUNK) {
    const long words = std::min(CHUNK, x.words - first);
    const Cell* right = x.at(start, first);
    for (long row = start; row < positions; row += TILE_ROWS)
      tile(x.at(row, first), right, words, out + (row - start) * PANEL, first > 0);
  }
}

// <x_t, x_s> for the positions s from `other` on, from a strip.
static inline Floats inner_products(const Panels& x, const Cell* sums, long row, long other) {
  const Floats found = as_float(*reinterpret_cast<const LooseWord*>(sums));
#ifdef EPSILON_INTEGERS
  return found * x.scale[row] * load(x.scale.data() + other);
#else
  return found;
#endif
}

// bounds (batch, 2): an upper bound on the squared norm, and the estimate that it stands on.
//
// With s = sum_t |a_t| |g_t| (the bias is a column of ones), the float32 sum is off by at most
// gamma s^2, since each product <a_t, a_s> <g_t, g_s> is off by gamma |a_t| |a_s| |g_t| |g_s|; and
// the packed gradient is off by e = sum_t (|g_t - packed| |a_t| + |packed g_t| |a_t - packed|).
// So norm <= sqrt(max(0, estimate) + gamma s^2) + e: rows that cancel are never underestimated.
static void ghost_norm2(const LinearBatch& from, double* bounds, int threads) {
  const long D = from.inputs, P = from.outputs, T = from.positions;
  const float one = from.has_bias ? 1.0f : 0.0f;
  const double gamma = (roundings(D) + roundings(P) + 2.0 * TILE_ROWS * TILE_VECTORS + 8.0) *
                       UNIT * 1.01;
  Ints lanes;
  for (int lane = 0; lane < LANES; ++lane) lanes[lane] = lane;
#pragma omp parallel num_threads(threads)
  {
    Panels a(T, D), g(T, P);
    std::vector<Cell> inner(a.rows * PANEL), outer(g.rows * PANEL);
#pragma omp for schedule(static)
    for (long b = 0; b < from.batch; ++b) {
      pack(from.a + b * T * D, T, a);
      pack(from.g + b * T * P, T, g);
      double estimate = 0, reach = 0, miss = 0;
      for (long start = 0; start < T; start += PANEL) {
        strip(a, start / PANEL, T, inner.data());
        strip(g, start / PANEL, T, outer.data());
        for (long row = start; row < T; row += TILE_ROWS) {
          Floats sum{};
          // What lies behind the last position is zero in g.
          for (long mine = row; mine < row + TILE_ROWS; ++mine)
            for (long other = start; other < start + PANEL; other += LANES) {
              const long at = (mine - start) * PANEL + other - start;
              const Floats product = (inner_products(a, &inner[at], mine, other) + one) *
                                     inner_products(g, &outer[at], mine, other);
              const Ints there = lanes + static_cast<int32_t>(other);
              const int32_t here = static_cast<int32_t>(mine);
              // Twice below the diagonal, once on it, nothing above.
              sum += there < here ? product * 2.0f : there == here ? product : Floats{};
            }
          estimate += sum_of(sum);
        }
      }
      for (long t = 0; t < T; ++t) {
        const double inputs = std::sqrt(a.reach[t] * a.reach[t] + one);
        reach += inputs * g.reach[t];
        miss += g.miss[t] * inputs + g.reach[t] * a.miss[t];
      }
      const double norm = std::sqrt(std::max(estimate, 0.0) + gamma * reach * reach) + miss;
      const double bound = norm * norm * (1.0 + 0x1p-40);
      // max(NaN, 0) is 0: what was not finite is told apart by its reach.
      bounds[2 * b] = reach < HUGE_VAL && estimate - estimate == 0 ? bound : HUGE_VAL;
      bounds[2 * b + 1] = estimate;
    }
  }
}
