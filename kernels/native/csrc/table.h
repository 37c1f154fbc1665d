// What one instruction set offers; `library.cpp` picks a table when the library is loaded.
#pragma once
#include <cstdint>

extern "C" {
typedef void Sgemm(const char*, const char*, const int*, const int*, const int*, const float*,
                   const float*, const int*, const float*, const int*, const float*, float*,
                   const int*);
}

// The BLAS of the process, or null: then the operations use a loop of their own.
extern Sgemm* epsilon_sgemm;

// a: (batch, positions, inputs), g: (batch, positions, outputs), both dense float32.
struct LinearBatch {
  const float* a;
  const float* g;
  long batch, positions, inputs, outputs;
  int has_bias;
};

struct ConvBatch {
  const float* x;  // (batch, channels, height, width)
  const float* g;  // (batch, filters, out_height, out_width)
  long batch, channels, height, width, filters, out_height, out_width;
  long kernel_height, kernel_width, stride_height, stride_width;
  long pad_height, pad_width, dilation_height, dilation_width;
  int has_bias;
};

struct Table {
  const char* name;
  double (*squared_sum)(const float* values, long count);
  void (*clip_sum)(const LinearBatch& from, double bound, float* weight, float* bias,
                   float* factors, double* norms, float* workspace, long buffers, int threads);
  void (*direct_norm2)(const LinearBatch& from, double* norms2, float* workspace, int threads);
  void (*ghost_norm2)(const LinearBatch& from, double* bounds, int threads);
  void (*scaled_sum)(const LinearBatch& from, const float* factors, float* weight, float* bias,
                     float* workspace, int threads);
  void (*conv_clip_sum)(const ConvBatch& from, double bound, float* weight, float* bias,
                        float* factors, double* norms, float* kept, float* workspace,
                        int threads);
  void (*layer_norm_gradients)(const float* x, const float* g, const float* mean,
                               const float* inverse_deviation, long batch, long positions,
                               long width, float* weight, float* bias, int threads);
  void (*channel_sums)(const float* x, const float* g, long rows, long pixels, float* products,
                       float* sums, int threads);
  void (*add_noise)(float* values, long count, float scale, const uint32_t* key,
                    const uint32_t* nonce, uint32_t counter, int threads);
  void (*key_stream)(uint32_t* words, long blocks, const uint32_t* key, const uint32_t* nonce,
                     uint32_t counter);
};
