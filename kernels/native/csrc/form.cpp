// One form of the kernels: compiled once for each instruction set, under a name of its own.
#include "table.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "lanes.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

#ifdef _OPENMP
#include <omp.h>
#else
static inline int omp_get_thread_num() { return 0; }
static inline int omp_get_num_threads() { return 1; }
#endif

namespace EPSILON_JOIN(form_, EPSILON_FORM) {
#include "products.h"
#include "sums.h"
#include "gram.h"
#include "conv.h"
#include "affine.h"
#include "noise.h"
}  // namespace

#define EPSILON_TEXT_(a) #a
#define EPSILON_TEXT(a) EPSILON_TEXT_(a)
using namespace EPSILON_JOIN(form_, EPSILON_FORM);
extern const Table EPSILON_JOIN(table_, EPSILON_FORM);
const Table EPSILON_JOIN(table_, EPSILON_FORM) = {
    EPSILON_TEXT(EPSILON_FORM), squared_sum,          clip_sum,  direct_norm2, ghost_norm2,
    scaled_sum,                 conv_clip_sum,        layer_norm_gradients,
    channel_sums,               add_noise,            key_stream,
};
