// Convolutions: the gradient of one example is sum over output pixels of (tap's input) x (filters'
// gradients). Inputs are read where they lie, behind zero padding; no patches are written. (Groups
// and odd shapes go by the library's own convolution.)

// The inputs of one example with their zeros around them, and the pixels that a tap reads.
struct Padded {
  long height, width;  // of one channel, with its padding

  explicit Padded(const ConvBatch& c)
      : height((c.out_height - 1) * c.stride_height + (c.kernel_height - 1) * c.dilation_height + 1),
        width((c.out_width - 1) * c.stride_width + (c.kernel_width - 1) * c.dilation_width + 1) {}

  void fill(const ConvBatch& c, const float* x, float* to) const {
    const long first = std::min(width, c.pad_width);
    const long last = std::max(first, std::min(width, c.pad_width + c.width));
    for (long channel = 0; channel < c.channels; ++channel)
      for (long row = 0; row < height; ++row, to += width) {
        const long from = row - c.pad_height;
        if (from < 0 || from >= c.height) {
          std::fill(to, to + width, 0.0f);
          continue;
        }
        std::fill(to, to + first, 0.0f);
        std::memcpy(to + first, x + (channel * c.height + from) * c.width,
                    static_cast<size_t>(last - first) * sizeof(float));
        std::fill(to + last, to + width, 0.0f);
      }
  }

  // Where tap number `tap` of (channels, kernel_height, kernel_width) starts to read.
  long offset(const ConvBatch& c, long tap) const {
    const long kw = tap % c.kernel_width, kh = tap / c.kernel_width % c.kernel_height;
    const long channel = tap / (c.kernel_width * c.kernel_height);
    return (channel * height + kh * c.dilation_height) * width + kw * c.dilation_width;
  }
};

#ifdef __AVX512F__
constexpr long FILTER_VECTORS = 4;
#else
constexpr long FILTER_VECTORS = 2;  // as many sums as there are registers
#endif
// The caller gives each example's gradient room for filters in such steps, whatever the form.
constexpr long FILTERS_STEP = 16;
constexpr long TAPS_AT_ONCE = 6;
// The filters' gradients of so many floats are read once a group of taps, from the nearest cache.
constexpr long NEAR_FLOATS = 6144;

// out (pixels, wide) = in (filters, pixels)^T, zeros behind the last filter.
static void turned_over(const float* in, long filters, long pixels, long wide, float* out) {
  for (long pixel = 0; pixel < pixels; pixel += LANES)
    for (long filter = 0; filter < wide; filter += LANES) {
      Floats block[LANES];
      const long there = std::min(LANES, pixels - pixel);
      for (long i = 0; i < LANES; ++i)
        block[i] = filter + i < filters ? part_of(in + (filter + i) * pixels, pixel, pixels)
                                        : Floats{};
      transpose(block);
      for (long i = 0; i < there; ++i) store(out + (pixel + i) * wide + filter, block[i]);
    }
}

// out[r] (VECTORS lanes) (+)= sum over rows x columns pixels of from[r][pixel] g[pixel], for TAPS
// taps; steps are the distances between the inputs of neighbouring pixels.
template <long TAPS, long VECTORS>
static void tap_sums(const float* const* from, const float* g, long rows, long columns,
                     long row_step, long column_step, long wide, float* out, bool add) {
  Floats sums[TAPS][VECTORS];
#pragma GCC unroll 8
  for (long r = 0; r < TAPS; ++r)
#pragma GCC unroll 4
    for (long v = 0; v < VECTORS; ++v)
      sums[r][v] = add ? load(out + r * wide + v * LANES) : Floats{};
  for (long row = 0; row < rows; ++row) {
    const float* in[TAPS];
#pragma GCC unroll 8
    for (long r = 0; r < TAPS; ++r) in[r] = from[r] + row * row_step;
    for (long column = 0; column < columns; ++column, g += wide) {
      Floats y[VECTORS];
#pragma GCC unroll 4
      for (long v = 0; v < VECTORS; ++v) y[v] = load(g + v * LANES);
#pragma GCC unroll 8
      for (long r = 0; r < TAPS; ++r) {
        const float x = in[r][column * column_step];
#pragma GCC unroll 4
        for (long v = 0; v < VECTORS; ++v) sums[r][v] += x * y[v];
      }
    }
  }
#pragma GCC unroll 8
  for (long r = 0; r < TAPS; ++r)
#pragma GCC unroll 4
    for (long v = 0; v < VECTORS; ++v) store(out + r * wide + v * LANES, sums[r][v]);
}

typedef void TapSums(const float* const*, const float*, long, long, long, long, long, float*, bool);

template <long VECTORS>
static TapSums* tap_sums_of(long taps) {
  static_assert(TAPS_AT_ONCE == 6, "one entry a number of taps");
  TapSums* const all[] = {tap_sums<1, VECTORS>, tap_sums<2, VECTORS>, tap_sums<3, VECTORS>,
                          tap_sums<4, VECTORS>, tap_sums<5, VECTORS>, tap_sums<6, VECTORS>};
  return all[taps - 1];
}

static TapSums* tap_sums_of(long taps, long vectors) {
  if (vectors == FILTER_VECTORS) return tap_sums_of<FILTER_VECTORS>(taps);
  return vectors == 2 ? tap_sums_of<2>(taps) : tap_sums_of<1>(taps);
}

// product (taps, wide) of one example, from its padded inputs and its turned gradients.
static void tap_products(const ConvBatch& c, const Padded& shape, const float* x, const float* g,
                         long wide, float* product) {
  const long taps = c.channels * c.kernel_height * c.kernel_width;
  const long row_step = c.stride_height * shape.width;
  const long rows_near = std::max(1L, NEAR_FLOATS / (c.out_width * wide));
  for (long row = 0; row < c.out_height; row += rows_near) {
    const long rows = std::min(rows_near, c.out_height - row);
    for (long tap = 0; tap < taps; tap += TAPS_AT_ONCE) {
      const long count = std::min(TAPS_AT_ONCE, taps - tap);
      const float* from[TAPS_AT_ONCE];
      for (long r = 0; r < count; ++r) from[r] = x + shape.offset(c, tap + r) + row * row_step;
      for (long filter = 0; filter < wide;) {
        long vectors = FILTER_VECTORS;
        while (vectors * LANES > wide - filter) vectors /= 2;
        tap_sums_of(count, vectors)(from, g + row * c.out_width * wide + filter, rows, c.out_width,
                                    row_step, c.stride_width, wide, product + tap * wide + filter,
                                    row > 0);
        filter += vectors * LANES;
      }
    }
  }
}

// workspace a thread: see conv_workspace. Each thread sums its own examples; the threads' sums are
// added in their order. kept (batch, taps + 1, wide), or null: every example's gradient with the
// filters last, in whole steps, and behind it its bias gradient.
static void conv_clip_sum(const ConvBatch& from, double bound, float* weight, float* bias,
                          float* factors, double* norms, float* kept, float* workspace,
                          int threads) {
  const Padded shape(from);
  const long taps = from.channels * from.kernel_height * from.kernel_width;
  const long pixels = from.out_height * from.out_width, filters = from.filters;
  const long wide = rounded_up(filters, FILTERS_STEP), size = (taps + 1) * wide;
  const long inputs = from.channels * shape.height * shape.width;
  const long stride = inputs + pixels * wide + 2 * size;
  int used = 1;
#pragma omp parallel num_threads(threads)
  {
    const int me = omp_get_thread_num(), team = omp_get_num_threads();
#pragma omp single
    used = team;
    float *x = workspace + me * stride, *g = x + inputs;
    float *product = g + pixels * wide, *total = product + size;
    std::fill(total, total + size, 0.0f);
    const long first = from.batch * me / team, last = from.batch * (me + 1) / team;
    for (long b = first; b < last; ++b) {
      shape.fill(from, from.x + b * from.channels * from.height * from.width, x);
      turned_over(from.g + b * filters * pixels, filters, pixels, wide, g);
      if (kept != nullptr) product = kept + b * size;
      tap_products(from, shape, x, g, wide, product);
      float* shift = product + taps * wide;
      std::fill(shift, shift + wide, 0.0f);
      if (from.has_bias)
        for (long pixel = 0; pixel < pixels; ++pixel)
          for (long at = 0; at < wide; at += LANES)
            store(shift + at, load(shift + at) + load(g + pixel * wide + at));
      norms[b] = std::sqrt(squared_sum(product, size)) * NORM_SLACK;
      factors[b] = factor_of(norms[b], bound);
      const float* one[1] = {product};
      if (weight != nullptr) add_scaled(total, one, factors + b, 1, size, false);
    }
  }
  if (weight == nullptr) return;  // only the norms were asked for
  float* sum = workspace + stride - size;
  const float unit = 1.0f;
  for (int thread = 1; thread < used; ++thread) {
    const float* one[1] = {sum + thread * stride};
    add_scaled(sum, one, &unit, 1, size, false);
  }
  for (long filter = 0; filter < filters; ++filter)
    for (long tap = 0; tap < taps; ++tap) weight[filter * taps + tap] = sum[tap * wide + filter];
  if (from.has_bias) std::memcpy(bias, sum + taps * wide, static_cast<size_t>(filters) * 4);
}
