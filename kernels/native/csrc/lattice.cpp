// The discrete Gaussian on the integers, exactly: rejection from the discrete Laplace by Bernoulli
// trials on integers (Canonne, Kamath and Steinke 2020, Algorithms 1 to 3). No float is touched, so
// no rounding stands between the sampler and the theorem; what is assumed is ChaCha20.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "table.h"

typedef unsigned __int128 Wide;

extern "C" void epsilon_key_stream(uint32_t* words, long blocks, const uint32_t* key,
                                   const uint32_t* nonce, uint32_t counter);

namespace {

constexpr long CHUNK = 1024;       // coordinates that share one derived key
constexpr long BLOCKS_AT_ONCE = 16;

// The bits of one chunk: its key is the first half of block `chunk` of the caller's key stream, so
// chunks may be drawn in any order and by any number of threads, and no stream is read twice.
class Bits {
 public:
  Bits(const uint32_t* key, const uint32_t* nonce, uint32_t chunk) {
    uint32_t block[16];
    epsilon_key_stream(block, 1, key, nonce, chunk);
    std::memcpy(key_, block, sizeof key_);
  }

  uint64_t word() {
    if (at_ == COUNT) refill();
    const uint64_t low = words_[at_], high = words_[at_ + 1];
    at_ += 2;
    return high << 32 | low;
  }

  // Uniform on [0, below), by rejection from the fewest bits that hold it.
  Wide uniform(Wide below) {
    if (below >> 64 == 0) {
      const uint64_t limit = static_cast<uint64_t>(below);
      if (limit <= 1) return 0;
      const int spare = __builtin_clzll(limit - 1);
      for (;;) {
        const uint64_t drawn = word() >> spare;
        if (drawn < limit) return drawn;
      }
    }
    const int spare = __builtin_clzll(static_cast<uint64_t>((below - 1) >> 64) | 1);
    for (;;) {
      const Wide drawn = (static_cast<Wide>(word()) << 64 | word()) >> spare;
      if (drawn < below) return drawn;
    }
  }

 private:
  static constexpr long COUNT = BLOCKS_AT_ONCE * 16;
  void refill() {
    const uint32_t nonce[3] = {0, 0, 0};
    epsilon_key_stream(words_, BLOCKS_AT_ONCE, key_, nonce, counter_);
    counter_ += BLOCKS_AT_ONCE;
    at_ = 0;
  }
  uint32_t key_[8], words_[COUNT], counter_ = 0;
  long at_ = COUNT;
};

// Bernoulli(exp(-top / bottom)) for 0 <= top <= bottom: the parity of the first k at which a
// Bernoulli(top / (bottom k)) fails.
bool exp_coin_up_to_one(Bits& bits, Wide top, Wide bottom) {
  bool odd = true;
  for (Wide k = 1;; ++k, odd = !odd)
    if (bits.uniform(bottom * k) >= top) return odd;
}

bool exp_coin(Bits& bits, Wide top, Wide bottom) {
  for (; top > bottom; top -= bottom)
    if (!exp_coin_up_to_one(bits, 1, 1)) return false;
  return exp_coin_up_to_one(bits, top, bottom);
}

// One sample of N_Z(0, s^2) from a discrete Laplace of scale s.
int64_t discrete_gaussian(Bits& bits, uint64_t s) {
  const Wide bottom = static_cast<Wide>(s) * s * 2;
  for (;;) {
    const uint64_t rest = static_cast<uint64_t>(bits.uniform(s));
    if (!exp_coin_up_to_one(bits, rest, s)) continue;
    uint64_t whole = 0;
    while (whole < 64 && exp_coin_up_to_one(bits, 1, 1)) ++whole;
    if (whole == 64) continue;  // 2^-92; what the last step would have kept of it is below e^-1900
    const uint64_t size = rest + s * whole;
    const bool negative = bits.word() >> 63;
    if (negative && size == 0) continue;
    const Wide gap = size > s ? size - s : s - size;
    if (exp_coin(bits, gap * gap, bottom))
      return negative ? -static_cast<int64_t>(size) : static_cast<int64_t>(size);
  }
}

}  // namespace

extern "C" {

// values[i] += one sample each; 1 <= deviation <= 2^40. Chunk k of 1024 values has its own key.
void epsilon_add_discrete_noise(int64_t* values, long count, uint64_t deviation,
                                const uint32_t* key, const uint32_t* nonce, int threads) {
  const long chunks = (count + CHUNK - 1) / CHUNK;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long chunk = 0; chunk < chunks; ++chunk) {
    Bits bits(key, nonce, static_cast<uint32_t>(chunk));
    const long last = std::min(count, (chunk + 1) * CHUNK);
    for (long i = chunk * CHUNK; i < last; ++i) values[i] += discrete_gaussian(bits, deviation);
  }
}
}
