// Keyed Gaussian noise: ChaCha20 (RFC 8439) on many blocks at once, one a lane, and Box-Muller
// behind it in registers; nothing but the target is written.

// The sixteen words of a block just fill sixteen registers; wider vectors would not stay in them.
constexpr long BLOCKS_AT_ONCE = LANES;
constexpr long VECTOR_BYTES = 4 * BLOCKS_AT_ONCE;
typedef float NoiseFloats __attribute__((vector_size(VECTOR_BYTES)));
typedef float LooseNoise __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef int32_t NoiseInts __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t NoiseWords __attribute__((vector_size(VECTOR_BYTES)));
typedef uint8_t NoiseBytes __attribute__((vector_size(VECTOR_BYTES)));

static inline NoiseWords words_of(uint32_t value) { return value - NoiseWords{}; }

template <int BITS>
static inline NoiseWords turned(NoiseWords value) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  // No rotation of words there; whole bytes are moved by one shuffle.
  if (BITS == 16 || BITS == 8) {
    NoiseBytes from;
    for (int i = 0; i < VECTOR_BYTES; ++i) from[i] = i / 4 * 4 + (i + 4 - BITS / 8) % 4;
    return (NoiseWords)__builtin_shuffle((NoiseBytes)value, from);
  }
#endif
  return (value << BITS) | (value >> (32 - BITS));
}

static inline void quarter_round(NoiseWords& a, NoiseWords& b, NoiseWords& c, NoiseWords& d) {
  a += b, d = turned<16>(d ^ a);
  c += d, b = turned<12>(b ^ c);
  a += b, d = turned<8>(d ^ a);
  c += d, b = turned<7>(b ^ c);
}

// out[w][lane] is word w of block counter + lane.
static inline void some_blocks(const uint32_t* start, uint32_t counter, NoiseWords* out) {
  NoiseWords place = words_of(counter);
  for (uint32_t lane = 0; lane < BLOCKS_AT_ONCE; ++lane) place[lane] += lane;
  for (int w = 0; w < 16; ++w) out[w] = words_of(start[w]);
  out[12] = place;
  for (int round = 0; round < 10; ++round) {
    quarter_round(out[0], out[4], out[8], out[12]);
    quarter_round(out[1], out[5], out[9], out[13]);
    quarter_round(out[2], out[6], out[10], out[14]);
    quarter_round(out[3], out[7], out[11], out[15]);
    quarter_round(out[0], out[5], out[10], out[15]);
    quarter_round(out[1], out[6], out[11], out[12]);
    quarter_round(out[2], out[7], out[8], out[13]);
    quarter_round(out[3], out[4], out[9], out[14]);
  }
  for (int w = 0; w < 16; ++w) out[w] += w == 12 ? place : words_of(start[w]);
}

static inline void start_of(const uint32_t* key, const uint32_t* nonce, uint32_t* start) {
  const uint32_t constants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  std::memcpy(start, constants, 16);
  std::memcpy(start + 4, key, 32);
  start[12] = 0;
  std::memcpy(start + 13, nonce, 12);
}

static void key_stream(uint32_t* words, long blocks, const uint32_t* key, const uint32_t* nonce,
                       uint32_t counter) {
  uint32_t start[16];
  NoiseWords out[16];
  start_of(key, nonce, start);
  for (long first = 0; first < blocks; first += BLOCKS_AT_ONCE) {
    some_blocks(start, counter + static_cast<uint32_t>(first), out);
    for (long lane = 0; lane < std::min(BLOCKS_AT_ONCE, blocks - first); ++lane)
      for (int w = 0; w < 16; ++w) words[(first + lane) * 16 + w] = out[w][lane];
  }
}

static inline NoiseFloats chosen(NoiseInts mask, NoiseFloats yes, NoiseFloats no) {
  return (NoiseFloats)((mask & (NoiseInts)yes) | (~mask & (NoiseInts)no));
}

static inline NoiseFloats as_floats(NoiseInts value) { return __builtin_convertvector(value, NoiseFloats); }

// -2 ln((word + 1/2) / 2^32). Near one the distance to one is taken from the word itself, so that
// small radii are as fine as large ones. Polynomial: Cephes logf, within 2e-7 relative.
static inline NoiseFloats squared_radius(NoiseWords word) {
  const NoiseInts near_one = word >= words_of(0xB504F334u);
  // What is taken the logarithm of: the word, or its distance to one. A float of a 32-bit word by
  // two halves: exact above, rounded once.
  const NoiseWords taken = word ^ (NoiseWords)near_one;
  const NoiseFloats value = as_floats((NoiseInts)(taken >> 16)) * 65536.0f +
                            (as_floats((NoiseInts)(taken & 0xFFFF)) + 0.5f);
  const NoiseInts bits = (NoiseInts)value;
  const NoiseInts split = (bits - 0x3F3504F3) >> 23;  // mantissa into [sqrt(1/2), sqrt(2))
  const NoiseFloats mantissa = (NoiseFloats)(bits - (split << 23)) - 1.0f;
  const NoiseFloats f = chosen(near_one, value * -0x1p-32f, mantissa);
  const NoiseFloats e = as_floats((split - 32) & ~near_one);
  NoiseFloats p = 7.0376836292e-2f - NoiseFloats{};
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  const NoiseFloats square = f * f;
  const NoiseFloats log = (f + (square * (p * f - 0.5f) + e * -2.12194440e-4f)) + e * 0.693359375f;
  return log * -2.0f;
}

static inline NoiseFloats root(NoiseFloats value) {
#if defined(__AVX512F__)
  return (NoiseFloats)_mm512_sqrt_ps((__m512)value);
#elif defined(__AVX2__)
  return (NoiseFloats)_mm256_sqrt_ps((__m256)value);
#else
  for (long lane = 0; lane < BLOCKS_AT_ONCE; ++lane) value[lane] = __builtin_sqrtf(value[lane]);
  return value;
#endif
}

static inline void add_to(float* at, NoiseFloats value) {
  LooseNoise* to = reinterpret_cast<LooseNoise*>(at);
  *to = *to + value;
}

// cos and sin of 2 pi word / 2^32: the nearest quarter turn from the top bits, the rest by Taylor
// polynomials on [-pi/4, pi/4].
static inline void turn(NoiseWords word, NoiseFloats& cosine, NoiseFloats& sine) {
  const NoiseWords quarter = (word + 0x20000000u) >> 30;
  const NoiseInts rest = (NoiseInts)(word - (quarter << 30));
  const NoiseFloats x = as_floats(rest) * 1.46291807926715968e-9f;  // 2 pi / 2^32
  const NoiseFloats square = x * x;
  NoiseFloats s = -1.9515295891e-4f - NoiseFloats{};
  s = s * square + 8.3321608736e-3f;
  s = s * square - 1.6666654611e-1f;
  s = s * square * x + x;
  NoiseFloats c = 2.443315711809948e-5f - NoiseFloats{};
  c = c * square - 1.388731625493765e-3f;
  c = c * square + 4.166664568298827e-2f;
  c = c * square * square - 0.5f * square + 1.0f;
  const NoiseInts odd = -(NoiseInts)(quarter & 1u);
  const NoiseInts sine_sign = (NoiseInts)((quarter & 2u) << 30);
  const NoiseInts cosine_sign = (NoiseInts)(((quarter + 1u) & 2u) << 30);
  cosine = (NoiseFloats)((NoiseInts)chosen(odd, s, c) ^ cosine_sign);
  sine = (NoiseFloats)((NoiseInts)chosen(odd, c, s) ^ sine_sign);
}

// values += scale * N(0, 1). Chunk k of 256 numbers uses blocks counter + 16 k to + 16 k + 15;
// within it, number 32 i + lane is the cosine and 32 i + 16 + lane the sine of the pair whose
// radius is word 2 i, and whose angle is word 2 i + 1, of block `lane`.
static void add_noise(float* values, long count, float scale, const uint32_t* key,
                      const uint32_t* nonce, uint32_t counter, int threads) {
  uint32_t start[16];
  start_of(key, nonce, start);
  const long chunks = (count + 255) / 256;
#pragma omp parallel for num_threads(threads) schedule(static) if (chunks > 64)
  for (long chunk = 0; chunk < chunks; ++chunk) {
    const long left = count - chunk * 256;
    float rest[256];
    float* to = values + chunk * 256;
    if (left < 256) {
      std::fill(rest, rest + 256, 0.0f);
      std::memcpy(rest, to, static_cast<size_t>(left) * sizeof(float));
      to = rest;
    }
    for (uint32_t block = 0; block < 16; block += BLOCKS_AT_ONCE) {
      NoiseWords out[16];
      some_blocks(start, counter + static_cast<uint32_t>(chunk) * 16u + block, out);
      for (int i = 0; i < 8; ++i) {
        NoiseFloats cosine, sine;
        const NoiseFloats radius = root(squared_radius(out[2 * i])) * scale;
        turn(out[2 * i + 1], cosine, sine);
        add_to(to + 32 * i + block, radius * cosine);
        add_to(to + 32 * i + 16 + block, radius * sine);
      }
    }
    if (left < 256)
      std::memcpy(values + chunk * 256, rest, static_cast<size_t>(left) * sizeof(float));
  }
}
