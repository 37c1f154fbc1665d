// Keyed Gaussian noise: ChaCha20 (RFC 8439) on sixteen blocks at once, one a lane, and Box-Muller
// behind it in registers; nothing but the target is written.

static inline Words turned(Words value, int bits) {
  return (value << bits) | (value >> (32 - bits));
}

static inline void quarter_round(Words& a, Words& b, Words& c, Words& d) {
  a += b, d = turned(d ^ a, 16);
  c += d, b = turned(b ^ c, 12);
  a += b, d = turned(d ^ a, 8);
  c += d, b = turned(b ^ c, 7);
}

// out[w][lane] is word w of block counter + lane.
static inline void sixteen_blocks(const uint32_t* start, uint32_t counter, Words* out) {
  const Words step = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const Words place = all(counter) + step;
  for (int w = 0; w < 16; ++w) out[w] = all(start[w]);
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
  for (int w = 0; w < 16; ++w) out[w] += w == 12 ? place : all(start[w]);
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
  Words out[16];
  start_of(key, nonce, start);
  for (long first = 0; first < blocks; first += LANES) {
    sixteen_blocks(start, counter + static_cast<uint32_t>(first), out);
    for (long lane = 0; lane < std::min(LANES, blocks - first); ++lane)
      for (int w = 0; w < 16; ++w) words[(first + lane) * 16 + w] = out[w][lane];
  }
}

static inline Floats chosen(Ints mask, Floats yes, Floats no) {
  return (Floats)((mask & (Ints)yes) | (~mask & (Ints)no));
}

static inline Floats as_floats(Ints value) { return __builtin_convertvector(value, Floats); }

// -2 ln((word + 1/2) / 2^32). Near one the distance to one is taken from the word itself, so that
// small radii are as fine as large ones. Polynomial: Cephes logf, within 2e-7 relative.
static inline Floats squared_radius(Words word) {
  // floats of 32-bit words by two halves: exact above, rounded once
  const Floats up = as_floats((Ints)(word >> 16)) * 65536.0f +
                    (as_floats((Ints)(word & 0xFFFF)) + 0.5f);
  const Words flipped = ~word;
  const Floats down = as_floats((Ints)(flipped >> 16)) * 65536.0f +
                      (as_floats((Ints)(flipped & 0xFFFF)) + 0.5f);
  const Ints bits = (Ints)up, near_one = word >= all(0xB504F334u);
  const Ints split = (bits - 0x3F3504F3) >> 23;  // mantissa into [sqrt(1/2), sqrt(2))
  const Floats mantissa = (Floats)(bits - (split << 23)) - 1.0f;
  const Floats f = chosen(near_one, down * -0x1p-32f, mantissa);
  const Floats e = chosen(near_one, Floats{}, as_floats(split - 32));
  Floats p = 7.0376836292e-2f - Floats{};
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  const Floats square = f * f;
  const Floats log = (f + (square * (p * f - 0.5f) + e * -2.12194440e-4f)) + e * 0.693359375f;
  return log * -2.0f;
}

// cos and sin of 2 pi word / 2^32: the nearest quarter turn from the top bits, the rest by Taylor
// polynomials on [-pi/4, pi/4].
static inline void turn(Words word, Floats& cosine, Floats& sine) {
  const Words quarter = (word + 0x20000000u) >> 30;
  const Ints rest = (Ints)(word - (quarter << 30));
  const Floats x = as_floats(rest) * 1.46291807926715968e-9f;  // 2 pi / 2^32
  const Floats square = x * x;
  Floats s = -1.9515295891e-4f - Floats{};
  s = s * square + 8.3321608736e-3f;
  s = s * square - 1.6666654611e-1f;
  s = s * square * x + x;
  Floats c = 2.443315711809948e-5f - Floats{};
  c = c * square - 1.388731625493765e-3f;
  c = c * square + 4.166664568298827e-2f;
  c = c * square * square - 0.5f * square + 1.0f;
  const Ints odd = -(Ints)(quarter & 1u);
  const Ints sine_sign = (Ints)((quarter & 2u) << 30);
  const Ints cosine_sign = (Ints)(((quarter + 1u) & 2u) << 30);
  cosine = (Floats)((Ints)chosen(odd, s, c) ^ cosine_sign);
  sine = (Floats)((Ints)chosen(odd, c, s) ^ sine_sign);
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
    Words out[16];
    sixteen_blocks(start, counter + static_cast<uint32_t>(chunk) * 16u, out);
    const long left = count - chunk * 256;
    float rest[256];
    float* to = values + chunk * 256;
    if (left < 256) {
      std::fill(rest, rest + 256, 0.0f);
      std::memcpy(rest, to, static_cast<size_t>(left) * sizeof(float));
      to = rest;
    }
    for (int i = 0; i < 8; ++i) {
      Floats radius = squared_radius(out[2 * i]), cosine, sine;
      for (long lane = 0; lane < LANES; ++lane) radius[lane] = __builtin_sqrtf(radius[lane]);
      radius *= scale;
      turn(out[2 * i + 1], cosine, sine);
      store(to + 32 * i, load(to + 32 * i) + radius * cosine);
      store(to + 32 * i + LANES, load(to + 32 * i + LANES) + radius * sine);
    }
    if (left < 256)
      std::memcpy(values + chunk * 256, rest, static_cast<size_t>(left) * sizeof(float));
  }
}
