// Sums of outer products, the weight gradient of a linear layer: the one product that everything
// here stands on. Ours where there are fused products; elsewhere the process's BLAS, if there is one.
// (With AVX-512, on processors whose maker's rivals wrote that BLAS, it runs at half the width of
// ours; with AVX2 the two are equal, but ours takes the norm of a tile while it is in registers,
// scales while it packs, and writes no gradient of which only the norm is wanted.)

#if defined(__AVX512F__)
constexpr bool OWN_PRODUCTS_FIRST = true;
constexpr long TILE_HEIGHT = 12;
#elif defined(__AVX2__)
constexpr bool OWN_PRODUCTS_FIRST = true;
constexpr long TILE_HEIGHT = 6;  // as many sums as there are registers
#else
constexpr bool OWN_PRODUCTS_FIRST = false;
constexpr long TILE_HEIGHT = 6;
#endif
constexpr long TILE_COLUMNS = 2, TILE_WIDTH = TILE_COLUMNS * LANES;
// So many positions of a panel of inputs (32 KiB) stay in the nearest cache.
constexpr long DEPTH = 256;
// Output gradients are taken so many at a time (128 KiB): they stay in the next one.
constexpr long NEXT_FLOATS = 32768;

static inline bool own_products() { return OWN_PRODUCTS_FIRST || epsilon_sgemm == nullptr; }

// A thread's own copy of both factors, in the order in which the tiles read them.
static inline float* packing_space(size_t count) {
  static thread_local std::vector<float> space;
  if (space.size() < count) space.resize(count);
  return space.data();
}

template <int BUFFERS>
static void add_buffers(float* to, const float* const* from, const float* by, long count,
                        bool first) {
  long at = 0;
  for (; at + LANES <= count; at += LANES) {
    Floats sum = first ? Floats{} : load(to + at);
#pragma GCC unroll 4
    for (int i = 0; i < BUFFERS; ++i) sum += by[i] * load(from[i] + at);
    store(to + at, sum);
  }
  for (; at < count; ++at) {
    float sum = first ? 0.0f : to[at];
    for (int i = 0; i < BUFFERS; ++i) sum += by[i] * from[i][at];
    to[at] = sum;
  }
}

// to = (first ? 0 : to) + sum of factors[i] * from[i], of at most four; a factor of zero reads
// nothing, since zero times infinity is not zero.
static void add_scaled(float* to, const float* const* from, const float* factors, long buffers,
                       long count, bool first) {
  const float* live[4];
  float by[4];
  int n = 0;
  for (long i = 0; i < buffers; ++i)
    if (factors[i] != 0.0f) live[n] = from[i], by[n++] = factors[i];
  if (n == 4) add_buffers<4>(to, live, by, count, first);
  if (n == 3) add_buffers<3>(to, live, by, count, first);
  if (n == 2) add_buffers<2>(to, live, by, count, first);
  if (n == 1) add_buffers<1>(to, live, by, count, first);
  if (n == 0 && first) std::fill(to, to + count, 0.0f);
}

// Rows of `from`, `width` numbers each, as panels of STEP columns; zeros behind the last column.
// Row t belongs to factor by[t / each], which multiplies it if `scale`; a row of factor zero is not
// read. Without `by` all factors are one. sums (width) += factor times row, unless it is null.
template <long STEP>
static void pack_panels(const float* from, long rows, long width, long stride, const float* by,
                        long each, bool scale, float* to, float* sums) {
  // A few rows at a time: a line that holds columns of two panels is then read once.
  constexpr long ROWS = 4;
  for (long start = 0; start < rows; start += ROWS) {
    const long there = std::min(ROWS, rows - start);
    const float* row[ROWS];
    float factors[ROWS];
    for (long r = 0; r < there; ++r) {
      row[r] = from + (start + r) * stride;
      factors[r] = by == nullptr ? 1.0f : by[(start + r) / each];
    }
    if (sums != nullptr) add_scaled(sums, row, factors, there, width, false);
    for (long first = 0; first < width; first += STEP) {
      float* out = to + first * rows + start * STEP;
      for (long r = 0; r < there; ++r, out += STEP) {
        const float factor = factors[r];
        const float* in = row[r] + first;
        if (factor == 0.0f || width - first < STEP) {
          const long live = factor == 0.0f ? 0 : width - first;
          for (long k = 0; k < live; ++k) out[k] = scale ? factor * in[k] : in[k];
          std::fill(out + std::max(0L, live), out + STEP, 0.0f);
        } else if (STEP % LANES == 0 && scale) {
          for (long k = 0; k < STEP; k += LANES) store(out + k, factor * load(in + k));
        } else {
          std::memcpy(out, in, STEP * sizeof(float));
        }
      }
    }
  }
}

// One tile of TILE_HEIGHT x TILE_WIDTH: out (+)= sum over t of g[t] a[t]^T; from and to `out` only
// where it is not null. Returns the squares of the result: a lane adds at most 12 of them in
// float32, in two chains and one addition.
static Floats one_tile(const float* a, const float* g, long positions, float* out, long stride,
                       bool add) {
  static_assert(TILE_HEIGHT / 2 * TILE_COLUMNS <= 12, "squares that a chain adds in float32");
  Floats sums[TILE_HEIGHT][TILE_COLUMNS];
  if (out != nullptr)  // on its way while the sums are formed
#pragma GCC unroll 16
    for (long r = 0; r < TILE_HEIGHT; ++r)
#pragma GCC unroll 2
      for (long c = 0; c < TILE_WIDTH; c += 16) __builtin_prefetch(out + r * stride + c, 1);
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
// out may be null if nothing is to be added: only the squares are wanted then. shift (rows), unless
// it is null, = sum over t of by[t / each] g[t, 0..rows]. Returns the sum of
// squares of the result, short of it by at most 13 * 2^-24: a chain's twelve roundings, fused with
// their products (without fused ones there are six squares in a chain), and one addition.
static double own_outer_sum(const float* a, const float* g, long positions, long inputs,
                            long stride, long rows, const float* by, long each, float* out,
                            float* shift) {
  const long depth = out == nullptr ? std::max(1L, positions) : DEPTH;
  const long wide = rounded_up(inputs, TILE_WIDTH);
  const long deepest = std::min(depth, std::max(1L, positions));
  const long block = std::max(TILE_HEIGHT, NEXT_FLOATS / deepest / TILE_HEIGHT * TILE_HEIGHT);
  float* left = packing_space(static_cast<size_t>(deepest * (wide + block)));
  float* right = left + deepest * wide;
  HalfDoubles total[2] = {};
  if (shift != nullptr) std::fill(shift, shift + rows, 0.0f);
  for (long first = 0; first < std::max(1L, positions); first += depth) {
    const long count = std::min(depth, positions - first);
    const bool last = first + depth >= positions, more = first > 0;
    // A slab need not start with an example.
    const float* factors = by == nullptr ? nullptr : by + first / each;
    float row_by[DEPTH];  // by is not null, so neither is out
    const bool uneven = by != nullptr && (first % each != 0 || each < count);
    if (uneven)
      for (long t = 0; t < count; ++t) row_by[t] = by[(first + t) / each];
    const float* of_rows = uneven ? row_by : factors;
    const long same = uneven ? 1 : std::max(1L, count);
    pack_panels<TILE_WIDTH>(a + first * inputs, count, inputs, inputs, of_rows, same, true, left,
                            nullptr);
    for (long start = 0; start < rows; start += block) {
      const long stop = std::min(rows, start + block);
      pack_panels<TILE_HEIGHT>(g + first * stride + start, count, stop - start, stride, of_rows,
                               same, false, right, shift == nullptr ? nullptr : shift + start);
      for (long column = 0; column < inputs; column += TILE_WIDTH)
        for (long row = start; row < stop; row += TILE_HEIGHT) {
          const float *x = left + column * count, *y = right + (row - start) * count;
          const long r = std::min(TILE_HEIGHT, rows - row);
          const long c = std::min(TILE_WIDTH, inputs - column);
          float* to = out == nullptr ? nullptr : out + row * inputs + column;
          const Floats squares =
              to == nullptr || (r == TILE_HEIGHT && c == TILE_WIDTH)
                  ? one_tile(x, y, count, to, inputs, more)
                  : edge_tile(x, y, count, to, inputs, more, r, c);
          if (last) add_wide(total, squares);
        }
    }
  }
  return sum_of(total);
}
