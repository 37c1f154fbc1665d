// Per-example gradients of a normalisation layer's scale and shift: weight[b, k] is the sum over
// positions of g (x - mean) / deviation, bias[b, k] that of g; the normalised x is never written.
static void layer_norm_gradients(const float* x, const float* g, const float* mean,
                                 const float* inverse_deviation, long batch, long positions,
                                 long width, float* weight, float* bias, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long b = 0; b < batch; ++b) {
    float *w = weight + b * width, *shift = bias + b * width;
    std::fill(w, w + width, 0.0f);
    std::fill(shift, shift + width, 0.0f);
    for (long t = b * positions; t < (b + 1) * positions; ++t) {
      const float *in = x + t * width, *out = g + t * width;
      const float centre = mean == nullptr ? 0.0f : mean[t], scale = inverse_deviation[t];
      for (long k = 0; k < width; ++k) {
        w[k] += out[k] * ((in[k] - centre) * scale);
        shift[k] += out[k];
      }
    }
  }
}

// For each of `rows` channels of one example: sums[row] is the sum over pixels of g, products[row]
// that of x g. GroupNorm's gradients follow from these two.
static void channel_sums(const float* x, const float* g, long rows, long pixels, float* products,
                         float* sums, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long row = 0; row < rows; ++row) {
    const float *in = x + row * pixels, *out = g + row * pixels;
    Floats plain[2] = {}, times[2] = {};
    long at = 0;
    for (; at + 2 * LANES <= pixels; at += 2 * LANES)
#pragma GCC unroll 2
      for (int chain = 0; chain < 2; ++chain) {
        const Floats value = load(out + at + chain * LANES);
        plain[chain] += value;
        times[chain] += value * load(in + at + chain * LANES);
      }
    double sum = sum_of(plain[0] + plain[1]), product = sum_of(times[0] + times[1]);
    for (; at < pixels; ++at) {
      sum += out[at];
      product += static_cast<double>(out[at]) * in[at];
    }
    sums[row] = static_cast<float>(sum);
    products[row] = static_cast<float>(product);
  }
}
