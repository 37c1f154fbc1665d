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
