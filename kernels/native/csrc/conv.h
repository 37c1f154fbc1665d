// Convolutions: the patches of one example are written once and then it is a linear layer whose
// positions are the output pixels (groups and odd shapes go by the library's own convolution).

// patches (channels * kernel_height * kernel_width, out_height * out_width) of one example.
static void unfold(const ConvBatch& c, const float* x, float* patches) {
  for (long channel = 0; channel < c.channels; ++channel)
    for (long kh = 0; kh < c.kernel_height; ++kh)
      for (long kw = 0; kw < c.kernel_width; ++kw) {
        const float* plane = x + channel * c.height * c.width;
        const long shift = kw * c.dilation_width - c.pad_width, step = c.stride_width;
        // The columns whose source lies inside: the ends of each row are zeros.
        const long first =
            std::min(c.out_width, shift < 0 ? (-shift + step - 1) / step : 0L);
        const long last = std::max(
            first, shift < c.width ? std::min(c.out_width, (c.width - 1 - shift) / step + 1) : 0L);
        for (long row = 0; row < c.out_height; ++row, patches += c.out_width) {
          const long from = row * c.stride_height + kh * c.dilation_height - c.pad_height;
          if (from < 0 || from >= c.height) {
            std::fill(patches, patches + c.out_width, 0.0f);
            continue;
          }
          const float* line = plane + from * c.width + shift;
          std::fill(patches, patches + first, 0.0f);
          if (step == 1)
            std::memcpy(patches + first, line + first,
                        static_cast<size_t>(last - first) * sizeof(float));
          else
            for (long column = first; column < last; ++column) patches[column] = line[column * step];
          std::fill(patches + last, patches + c.out_width, 0.0f);
        }
      }
}

// out (filters, taps) = g (filters, pixels) patches (taps, pixels)^T
static void inner_sum(const float* patches, const float* g, long pixels, long taps, long filters,
                      float* out) {
  if (epsilon_sgemm != nullptr) {
    const int n = static_cast<int>(taps), m = static_cast<int>(filters);
    const int k = static_cast<int>(pixels);
    const float one = 1.0f, zero = 0.0f;
    epsilon_sgemm("T", "N", &n, &m, &k, &one, patches, &k, g, &k, &zero, out, &n);
    return;
  }
  for (long filter = 0; filter < filters; ++filter)
    for (long tap = 0; tap < taps; ++tap) {
      const float *x = patches + tap * pixels, *y = g + filter * pixels;
      Floats sums{};
      long at = 0;
      for (; at + LANES <= pixels; at += LANES) sums += load(x + at) * load(y + at);
      float total = static_cast<float>(sum_of(sums));
      for (; at < pixels; ++at) total += x[at] * y[at];
      out[filter * taps + tap] = total;
    }
}

// workspace: threads * (taps * pixels + 2 * filters * (taps + 1)) floats. Each thread sums its own
// examples; the threads' sums are added in their order. kept (batch, filters * (taps + 1)), or null:
// every example's weight gradient and, behind it, its bias gradient.
static void conv_clip_sum(const ConvBatch& from, double bound, float* weight, float* bias,
                          float* factors, double* norms, float* kept, float* workspace,
                          int threads) {
  const long taps = from.channels * from.kernel_height * from.kernel_width;
  const long pixels = from.out_height * from.out_width, filters = from.filters;
  const long size = filters * (taps + 1), stride = taps * pixels + 2 * size;
  int used = 1;
#pragma omp parallel num_threads(threads)
  {
    const int me = omp_get_thread_num(), team = omp_get_num_threads();
#pragma omp single
    used = team;
    float* patches = workspace + me * stride;
    float *product = patches + taps * pixels, *total = product + size;
    std::fill(total, total + size, 0.0f);
    const long first = from.batch * me / team, last = from.batch * (me + 1) / team;
    for (long b = first; b < last; ++b) {
      unfold(from, from.x + b * from.channels * from.height * from.width, patches);
      const float* g = from.g + b * filters * pixels;
      if (kept != nullptr) product = kept + b * size;
      inner_sum(patches, g, pixels, taps, filters, product);
      double squared = squared_sum(product, filters * taps);
      float* shift = product + filters * taps;
      if (from.has_bias) {
        for (long filter = 0; filter < filters; ++filter) {
          float sum = 0.0f;
          for (long pixel = 0; pixel < pixels; ++pixel) sum += g[filter * pixels + pixel];
          shift[filter] = sum;
        }
        squared += squared_sum(shift, filters);
      }
      norms[b] = std::sqrt(squared) * NORM_SLACK;
      factors[b] = factor_of(norms[b], bound);
      const float* one[1] = {product};
      if (weight != nullptr)
        add_scaled(total, one, factors + b, 1, from.has_bias ? size : filters * taps, false);
    }
  }
  if (weight == nullptr) return;  // only the norms were asked for
  std::fill(weight, weight + filters * taps, 0.0f);
  if (from.has_bias) std::fill(bias, bias + filters, 0.0f);
  const float unit = 1.0f;
  for (int thread = 0; thread < used; ++thread) {
    const float* total = workspace + thread * stride + taps * pixels + size;
    const float *one[1] = {total}, *two[1] = {total + filters * taps};
    add_scaled(weight, one, &unit, 1, filters * taps, false);
    if (from.has_bias) add_scaled(bias, two, &unit, 1, filters, false);
  }
}
