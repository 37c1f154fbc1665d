// The C door of the kernels: plain pointers and sizes, no header of any framework. The form is
// chosen when the library is loaded, by what this processor can do, and may be forced.
#include "table.h"

#include <cstring>

Sgemm* epsilon_sgemm = nullptr;

extern const Table table_plain;
#ifdef EPSILON_X86
extern const Table table_avx2, table_avx512, table_avx512vnni;
#endif

namespace {

const Table* const* all_tables(int* count) {
#ifdef EPSILON_X86
  static const Table* tables[4] = {&table_plain};
  static int found = 1;
  if (found == 1 && tables[1] == nullptr) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
      tables[found++] = &table_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      tables[found++] = &table_avx512;
      if (__builtin_cpu_supports("avx512vnni")) tables[found++] = &table_avx512vnni;
    }
  }
#else
  static const Table* tables[1] = {&table_plain};
  static int found = 1;
#endif
  *count = found;
  return tables;
}

const Table* best() {
  int count = 0;
  const Table* const* tables = all_tables(&count);
  return tables[count - 1];
}

const Table* chosen = best();

}  // namespace

extern "C" {

int epsilon_forms(void) {
  int count = 0;
  all_tables(&count);
  return count;
}

const char* epsilon_form_name(int index) {
  int count = 0;
  const Table* const* tables = all_tables(&count);
  return index >= 0 && index < count ? tables[index]->name : nullptr;
}

const char* epsilon_form(void) { return chosen->name; }

int epsilon_use(const char* name) {
  int count = 0;
  const Table* const* tables = all_tables(&count);
  for (int i = 0; i < count; ++i)
    if (std::strcmp(tables[i]->name, name) == 0) {
      chosen = tables[i];
      return 0;
    }
  return 1;
}

void epsilon_set_sgemm(Sgemm* sgemm) { epsilon_sgemm = sgemm; }

double epsilon_squared_sum(const float* values, long count) {
  return chosen->squared_sum(values, count);
}

void epsilon_rows_squared_sum(const float* values, long rows, long count, double* sums,
                              int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long row = 0; row < rows; ++row)
    sums[row] = chosen->squared_sum(values + row * count, count);
}

void epsilon_clip_sum(const LinearBatch* from, double bound, float* weight, float* bias,
                      float* factors, double* norms, float* workspace, long buffers, int threads) {
  chosen->clip_sum(*from, bound, weight, bias, factors, norms, workspace, buffers, threads);
}

void epsilon_direct_norm2(const LinearBatch* from, double* norms2, float* workspace, int threads) {
  chosen->direct_norm2(*from, norms2, workspace, threads);
}

void epsilon_ghost_norm2(const LinearBatch* from, double* bounds, int threads) {
  chosen->ghost_norm2(*from, bounds, threads);
}

void epsilon_scaled_sum(const LinearBatch* from, const float* factors, float* weight, float* bias,
                        float* workspace, int threads) {
  chosen->scaled_sum(*from, factors, weight, bias, workspace, threads);
}

void epsilon_conv_clip_sum(const ConvBatch* from, double bound, float* weight, float* bias,
                           float* factors, double* norms, float* kept, float* workspace,
                           int threads) {
  chosen->conv_clip_sum(*from, bound, weight, bias, factors, norms, kept, workspace, threads);
}

void epsilon_layer_norm_gradients(const float* x, const float* g, const float* mean,
                                  const float* inverse_deviation, long batch, long positions,
                                  long width, float* weight, float* bias, int threads) {
  chosen->layer_norm_gradients(x, g, mean, inverse_deviation, batch, positions, width, weight,
                               bias, threads);
}

void epsilon_channel_sums(const float* x, const float* g, long rows, long pixels, float* products,
                          float* sums, int threads) {
  chosen->channel_sums(x, g, rows, pixels, products, sums, threads);
}

void epsilon_add_noise(float* values, long count, float scale, const uint32_t* key,
                       const uint32_t* nonce, uint32_t counter, int threads) {
  chosen->add_noise(values, count, scale, key, nonce, counter, threads);
}

void epsilon_key_stream(uint32_t* words, long blocks, const uint32_t* key, const uint32_t* nonce,
                        uint32_t counter) {
  chosen->key_stream(words, blocks, key, nonce, counter);
}
}
