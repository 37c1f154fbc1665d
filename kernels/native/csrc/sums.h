// Per-example gradients of a linear layer, one product at a time into a hot buffer: its norm is the
// norm of the very numbers that are summed (Abadi et al. 2016, Algorithm 1, clipping step).

// Sum of squares. A lane adds at most 8 squares in float32, and four lanes are added, before they
// go to float64: the result is short of the true sum by at most 10 * 2^-24 of it, whatever the
// count, and callers widen by more.
static double squared_sum(const float* values, long count) {
  HalfDoubles wide[2] = {};
  long at = 0;
  while (count - at >= 4 * LANES) {
    const long stop = at + std::min((count - at) / (4 * LANES), 8L) * 4 * LANES;
    Floats s0{}, s1{}, s2{}, s3{};
    for (; at < stop; at += 4 * LANES) {
      const Floats v0 = load(values + at), v1 = load(values + at + LANES);
      const Floats v2 = load(values + at + 2 * LANES), v3 = load(values + at + 3 * LANES);
      s0 += v0 * v0;
      s1 += v1 * v1;
      s2 += v2 * v2;
      s3 += v3 * v3;
    }
    add_wide(wide, (s0 + s1) + (s2 + s3));
  }
  double total = sum_of(wide);
  for (; at < count; ++at) total += static_cast<double>(values[at]) * values[at];
  return total;
}

// Over what a norm (6.5 * 2^-24 of it, from own_outer_sum) and the float32 rounding of a factor
// (2^-24 of it) can be short by.
constexpr double NORM_SLACK = 1.0 + 0x1p-21;

static inline float factor_of(double norm, double bound) {
  if (!(norm < HUGE_VAL)) return 0.0f;  // NaN and infinity: the row adds zero
  return norm > bound ? static_cast<float>(bound / norm) : 1.0f;
}

// bias (rows): the sum over positions of one example's output gradients.
static void position_sum(const float* g, long positions, long stride, long rows, float* bias) {
  std::fill(bias, bias + rows, 0.0f);
  for (long t = 0; t < positions; ++t)
    for (long row = 0; row < rows; ++row) bias[row] += g[t * stride + row];
}

// out (rows, inputs) = sum over t of g[t, 0..rows]^T a[t] and, unless it is null, shift (rows) that
// of g; g has `stride` columns. Returns the sum of squares of both, short by at most 13 * 2^-24 of it.
static double outer_sum(const float* a, const float* g, long positions, long inputs, long stride,
                        long rows, float* out, float* shift) {
  if (own_products()) {
    const double squared =
        own_outer_sum(a, g, positions, inputs, stride, rows, nullptr, 1, out, shift);
    return shift == nullptr ? squared : squared + squared_sum(shift, rows);
  }
  const int n = static_cast<int>(inputs), m = static_cast<int>(rows);
  const int k = static_cast<int>(positions), ld = static_cast<int>(stride);
  const float one = 1.0f, zero = 0.0f;
  epsilon_sgemm("N", "T", &n, &m, &k, &one, a, &n, g, &ld, &zero, out, &n);
  const double squared = squared_sum(out, rows * inputs);
  if (shift == nullptr) return squared;
  position_sum(g, positions, stride, rows, shift);
  return squared + squared_sum(shift, rows);
}

struct Share {
  long first, count;
};

// The rows of thread `index` of `threads`, in whole lanes.
static inline Share share_of(long rows, int index, int threads) {
  const long step = ((rows + threads - 1) / threads + LANES - 1) / LANES * LANES;
  const long first = std::min(rows, step * index);
  return {first, std::min(rows, first + step) - first};
}

// workspace: buffers * outputs * (inputs + 1) floats. Each thread owns a block of output rows: its
// own product, its part of the norm, one barrier for the factors, its own part of the sum.
static void clip_sum(const LinearBatch& from, double bound, float* weight, float* bias,
                     float* factors, double* norms, float* workspace, long buffers, int threads) {
  const long D = from.inputs, P = from.outputs, T = from.positions;
  float* bias_space = workspace + buffers * P * D;
  std::vector<double> parts(static_cast<size_t>(threads * buffers));
#pragma omp parallel num_threads(threads)
  {
    const int me = omp_get_thread_num(), team = omp_get_num_threads();
    const Share mine = share_of(P, me, team);
    for (long start = 0; start < from.batch; start += buffers) {
      const long count = std::min(buffers, from.batch - start);
      const float *weights[4], *biases[4];
      for (long i = 0; i < count; ++i) {
        const float* a = from.a + (start + i) * T * D;
        const float* g = from.g + (start + i) * T * P + mine.first;
        float* product = workspace + i * P * D + mine.first * D;
        float* shift = bias_space + i * P + mine.first;
        weights[i] = product;
        biases[i] = shift;
        double squared = 0;
        if (mine.count > 0)
          squared =
              outer_sum(a, g, T, D, P, mine.count, product, from.has_bias ? shift : nullptr);
        parts[static_cast<size_t>(me * buffers + i)] = squared;
      }
#pragma omp barrier
      float mine_factors[4];
      for (long i = 0; i < count; ++i) {
        double squared = 0;  // every thread adds the parts in the same order
        for (int other = 0; other < team; ++other)
          squared += parts[static_cast<size_t>(other * buffers + i)];
        const double norm = std::sqrt(squared) * NORM_SLACK;
        mine_factors[i] = factor_of(norm, bound);
        if (me == 0) factors[start + i] = mine_factors[i], norms[start + i] = norm;
      }
      if (mine.count > 0) {
        add_scaled(weight + mine.first * D, weights, mine_factors, count, mine.count * D,
                   start == 0);
        if (from.has_bias)
          add_scaled(bias + mine.first, biases, mine_factors, count, mine.count, start == 0);
      }
#pragma omp barrier
    }
  }
  if (from.batch == 0) {
    std::fill(weight, weight + P * D, 0.0f);
    if (from.has_bias) std::fill(bias, bias + P, 0.0f);
  }
}

// workspace: threads * outputs * (inputs + 1) floats; each thread takes whole examples. Our own
// product writes no gradient, only its squares.
static void direct_norm2(const LinearBatch& from, double* norms2, float* workspace, int threads) {
  const long D = from.inputs, P = from.outputs, T = from.positions;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long b = 0; b < from.batch; ++b) {
    float* product = workspace + omp_get_thread_num() * P * (D + 1);
    // Over a few slabs its factors would take more room than the gradient.
    float* formed = own_products() && T <= 4 * DEPTH ? nullptr : product;
    float* shift = from.has_bias ? product + P * D : nullptr;
    const double squared =
        outer_sum(from.a + b * T * D, from.g + b * T * P, T, D, P, P, formed, shift);
    norms2[b] = squared * NORM_SLACK * NORM_SLACK;
  }
}

// The same with the process's BLAS: the narrower side is scaled, a hot slab at a time. workspace:
// ROWS_AT_ONCE * (inputs + outputs) floats. Rows of factor zero are written as zeros.
constexpr long ROWS_AT_ONCE = 512;

static void scale_row(const float* from, long width, float factor, bool scale, float* to) {
  if (factor == 0.0f)
    std::fill(to, to + width, 0.0f);
  else if (scale && factor != 1.0f)
    for (long k = 0; k < width; ++k) to[k] = factor * from[k];
  else
    std::memcpy(to, from, static_cast<size_t>(width) * sizeof(float));
}

static void scaled_sum_by_blas(const LinearBatch& from, const float* factors, float* weight,
                               float* workspace, int threads) {
  const long D = from.inputs, P = from.outputs, T = from.positions, rows = from.batch * T;
  const int n = static_cast<int>(D), m = static_cast<int>(P);
  if (rows == 0) std::fill(weight, weight + P * D, 0.0f);
  for (long first = 0; first < rows; first += ROWS_AT_ONCE) {
    const long count = std::min(ROWS_AT_ONCE, rows - first);
    float *a = workspace, *g = workspace + ROWS_AT_ONCE * D;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long row = 0; row < count; ++row) {
      const float* by = factors + (first + row) / T;
      scale_row(from.a + (first + row) * D, D, *by, D < P, a + row * D);
      scale_row(from.g + (first + row) * P, P, *by, D >= P, g + row * P);
    }
    const int k = static_cast<int>(count);
    const float one = 1.0f, beta = first > 0 ? 1.0f : 0.0f;
    epsilon_sgemm("N", "T", &n, &m, &k, &one, a, &n, g, &m, &beta, weight, &n);
  }
}

// weight = sum over b of factors[b] g_b^T a_b; a row of factor zero is not read.
static void scaled_sum(const LinearBatch& from, const float* factors, float* weight, float* bias,
                       float* workspace, int threads) {
  const long D = from.inputs, P = from.outputs, T = from.positions, rows = from.batch * T;
  const bool own = own_products();
  if (!own) scaled_sum_by_blas(from, factors, weight, workspace, threads);
#pragma omp parallel num_threads(threads)
  {
    const Share mine = share_of(P, omp_get_thread_num(), omp_get_num_threads());
    float* shift = from.has_bias ? bias + mine.first : nullptr;
    if (own && mine.count > 0)
      own_outer_sum(from.a, from.g + mine.first, rows, D, P, mine.count, factors, std::max(1L, T),
                    weight + mine.first * D, shift);
    if (!own && shift != nullptr) {
      std::fill(shift, shift + mine.count, 0.0f);
      for (long row = 0; row < rows; ++row) {
        const float* g = from.g + row * P + mine.first;
        add_scaled(shift, &g, factors + row / T, 1, mine.count, false);
      }
    }
  }
}
