// Sums of outer products, the weight gradient of a linear layer: the one product that everything
// here stands on. Ours where registers are wide; elsewhere the process's BLAS, where there is one.
// (On processors whose maker's rivals wrote that BLAS it runs at half the width of ours; and ours
// takes the norm of a tile while the tile is in registers.)

#ifdef __AVX512F__
constexpr bool OWN_PRODUCTS_FIRST = true;
constexpr long TILE_HEIGHT = 12;
#else
constexpr bool OWN_PRODUCTS_FIRST = false;
constexpr long TILE_HEIGHT = 6;  // as many sums as there are registers
#endif
constexpr long TILE_COLUMNS = 2, TILE_WIDTH = TILE_COLUMNS * LANES;
// So many positions of a panel of inputs (32 KiB) stay in the nearest cache.
constexpr long DEPTH = 256;

static inline bool own_products() { return OWN_PRODUCTS_FIRST || epsilon_sgemm == nullptr; }

// A thread's own copy of both factors, in the order in which the tiles read them.
static inline float* packing_space(size_t count) {
  static thread_local std::vector<float> space;
  if (space.size() < count) space.resize(count);
  return space.data();
}

// Rows of `from`, `width` numbers each, as panels of `step` columns; zeros behind the last column.
// Row t is multiplied by by[t / each]; a factor of zero reads nothing, since zero times infinity is
// not zero. Without `by` rows are copied.
static void pack_panels(const float* from, long rows, long width, long stride, long step,
                        const float* by, long each, bool scale, float* to) {
  for (long first = 0; first < width; first += step) {
    const long there = std::min(step, width - first);
    for (long t = 0; t < rows; ++t, to += step) {
      const float* in = from + t * stride + first;
      const float factor = by == nullptr ? 1.0f : by[t / each];
      if (factor == 0.0f) {
        std::fill(to, to + step, 0.0f);
        continue;
      }
      if (scale && factor != 1.0f)
        for (long k = 0; k < there; ++k) to[k] = factor * in[k];
      else
        for (long k = 0; k < there; ++k) to[k] = in[k];
      for (long k = there; k < step; ++k) to[k] = 0.0f;
    }
  }
}

// One tile of TILE_HEIGHT x TILE_WIDTH: out (+)= sum over t of g[t] a[t]^T; from and to `out` only
// where it is not null. Returns the squares of the result: a lane adds TILE_HEIGHT / 2 of them and
// then at most four lanes are added in float32.
static Floats one_tile(const float* a, const float* g, long positions, float* out, long stride,
                       bool add) {
  Floats sums[TILE_HEIGHT][TILE_COLUMNS];
#pragma GCC unroll 16
  for (long r = 0; r < TILE_HEIGHT; ++r)
#pragma GCC unroll 2
    for (long c = 0; c < TILE_COLUMNS; ++c)
      sums[r][c] = add ? load(out + r * stride + c * LANES) : Floats{};
  for (long t = 0; t < positions; ++t, a += TILE_WIDTH, g += TILE_HEIGHT) {
    Floats x[TILE_COLUMNS];
#pragma GCC unroll 2
    for (long c = 0; c < TILE_COLUMNS; ++c) x[c] = load(a + c * LANES);
#pragma GCC unroll 16
    for (long r = 0; r < TILE_HEIGHT; ++r)
#pragma GCC unroll 2
      for (long c = 0; c < TILE_COLUMNS; ++c) sums[r][c] += g[r] * x[c];
  }
  Floats squares[2]{};
#pragma GCC unroll 16
  for (long r = 0; r < TILE_HEIGHT; ++r)
#pragma GCC unroll 2
    for (long c = 0; c < TILE_COLUMNS; ++c) {
      squares[r & 1] += sums[r][c] * sums[r][c];
      if (out != nullptr) store(out + r * stride + c * LANES, sums[r][c]);
    }
  return squares[0] + squares[1];
}

// What one_tile gives at the edge of a matrix, by way of a tile of its own.
static Floats edge_tile(const float* a, const float* g, long positions, float* out, long stride,
                        bool add, long rows, long columns) {
  float tile[TILE_HEIGHT * TILE_WIDTH] = {};
  const size_t bytes = static_cast<size_t>(columns) * sizeof(float);
  if (add)
    for (long r = 0; r < rows; ++r) std::memcpy(tile + r * TILE_WIDTH, out + r * stride, bytes);
  const Floats squares = one_tile(a, g, positions, tile, TILE_WIDTH, add);
  for (long r = 0; r < rows; ++r) std::memcpy(out + r * stride, tile + r * TILE_WIDTH, bytes);
  return squares;
}

static inline long rounded_up(long count, long step) { return (count + step - 1) / step * step; }

// out (rows, inputs) (+)= sum over t of by[t / each] g[t, 0..rows]^T a[t]; g has `stride` columns.
// out may be null if nothing is to be added: only the squares are wanted then. Returns the sum of
// squares of the result, short of it by at most 10 * 2^-24 as squared_sum is.
static double own_outer_sum(const float* a, const float* g, long positions, long inputs,
                            long stride, long rows, const float* by, long each, float* out,
                            bool add) {
  const long depth = out == nullptr ? std::max(1L, positions) : DEPTH;
  const long wide = rounded_up(inputs, TILE_WIDTH), high = rounded_up(rows, TILE_HEIGHT);
  const long deepest = std::min(depth, std::max(1L, positions));
  float* left = packing_space(static_cast<size_t>(deepest * (wide + high)));
  float* right = left + deepest * wide;
  double total = 0;
  for (long first = 0; first < std::max(1L, positions); first += depth) {
    const long count = std::min(depth, positions - first);
    const bool last = first + depth >= positions, more = add || first > 0;
    // A slab need not start with an example.
    if (by == nullptr || (first % each == 0 && each >= count)) {
      const float* one = by == nullptr ? nullptr : by + first / each;
      pack_panels(a + first * inputs, count, inputs, inputs, TILE_WIDTH, one, count, true, left);
      pack_panels(g + first * stride, count, rows, stride, TILE_HEIGHT, one, count, false, right);
    } else {
      float row_by[DEPTH];  // by is not null, so neither is out
      for (long t = 0; t < count; ++t) row_by[t] = by[(first + t) / each];
      pack_panels(a + first * inputs, count, inputs, inputs, TILE_WIDTH, row_by, 1, true, left);
      pack_panels(g + first * stride, count, rows, stride, TILE_HEIGHT, row_by, 1, false, right);
    }
    for (long column = 0; column < inputs; column += TILE_WIDTH)
      for (long row = 0; row < rows; row += TILE_HEIGHT) {
        const float *x = left + column * count, *y = right + row * count;
        const long r = std::min(TILE_HEIGHT, rows - row);
        const long c = std::min(TILE_WIDTH, inputs - column);
        float* to = out == nullptr ? nullptr : out + row * inputs + column;
        const Floats squares =
            to == nullptr || (r == TILE_HEIGHT && c == TILE_WIDTH)
                ? one_tile(x, y, count, to, inputs, more)
                : edge_tile(x, y, count, to, inputs, more, r, c);
        if (last) total += sum_of(squares);
      }
  }
  return total;
}
