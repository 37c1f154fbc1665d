"""The five kernels for NVIDIA processors. Deterministic: every sum has a slot, none is atomic.

Shapes: a (B, T, D), g (B, T, P), rows contiguous in their last dim. UPCAST is for the interpreter,
whose bfloat16 products are wrong: factors are widened before they are multiplied.
"""

import triton
import triton.language as tl
from triton import jit


@jit
def _factors(
    a_ptr, g_ptr, example, first, T, D, P, rows, columns, UPCAST: tl.constexpr, BT: tl.constexpr
):
    """g[t, rows]^T (BP, BT) and a[t, columns] (BT, BD) of one example, zeros outside."""
    positions = first + tl.arange(0, BT)
    live = positions < T
    at = example.to(tl.int64) * T + positions
    g = tl.load(
        g_ptr + at[None, :] * P + rows[:, None],
        mask=live[None, :] & (rows < P)[:, None],
        other=0.0,
    )
    a = tl.load(
        a_ptr + at[:, None] * D + columns[None, :],
        mask=live[:, None] & (columns < D)[None, :],
        other=0.0,
    )
    if UPCAST:
        g = g.to(tl.float32)
        a = a.to(tl.float32)
    return g, a


@jit
def norm_parts(
    a_ptr,
    g_ptr,
    parts_ptr,
    T,
    D,
    P,
    HAS_BIAS: tl.constexpr,
    UPCAST: tl.constexpr,
    BP: tl.constexpr,
    BD: tl.constexpr,
    BT: tl.constexpr,
):
    """Squared norm of one tile of one example's gradient; the gradient never leaves the chip."""
    tile_d, tile_p, example = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    rows = tile_p * BP + tl.arange(0, BP)
    columns = tile_d * BD + tl.arange(0, BD)
    total = tl.zeros((BP, BD), dtype=tl.float32)
    bias = tl.zeros((BP,), dtype=tl.float32)
    for first in range(0, T, BT):
        g, a = _factors(a_ptr, g_ptr, example, first, T, D, P, rows, columns, UPCAST, BT)
        total = tl.dot(g, a, total, input_precision="ieee")
        if HAS_BIAS:
            bias += tl.sum(g.to(tl.float32), 1)
    squared = tl.sum(total * total)
    if HAS_BIAS:
        squared += tl.where(tile_d == 0, tl.sum(bias * bias), 0.0)
    tiles = tl.num_programs(0) * tl.num_programs(1)
    tl.store(parts_ptr + example * tiles + tile_p * tl.num_programs(0) + tile_d, squared)


@jit
def scaled_sum(
    a_ptr,
    g_ptr,
    factors_ptr,
    weight_ptr,
    B,
    T,
    D,
    P,
    UPCAST: tl.constexpr,
    BP: tl.constexpr,
    BD: tl.constexpr,
    BT: tl.constexpr,
):
    """One tile of sum_b c_b G_b; factors are applied in registers, the sum is written once."""
    tile_d, tile_p = tl.program_id(0), tl.program_id(1)
    rows = tile_p * BP + tl.arange(0, BP)
    columns = tile_d * BD + tl.arange(0, BD)
    total = tl.zeros((BP, BD), dtype=tl.float32)
    for example in range(B):
        factor = tl.load(factors_ptr + example)
        one = tl.zeros((BP, BD), dtype=tl.float32)
        for first in range(0, T, BT):
            g, a = _factors(
                a_ptr, g_ptr, tl.cast(example, tl.int64), first, T, D, P, rows, columns, UPCAST, BT
            )
            one = tl.dot(g, a, one, input_precision="ieee")
        total += tl.where(factor == 0.0, 0.0, factor * one)  # zero times infinity is not zero
    at = weight_ptr + rows[:, None] * D + columns[None, :]
    tl.store(at, total, mask=(rows < P)[:, None] & (columns < D)[None, :])


@jit
def ghost_parts(
    a_ptr,
    g_ptr,
    parts_ptr,
    T,
    D,
    P,
    HAS_BIAS: tl.constexpr,
    UPCAST: tl.constexpr,
    BT: tl.constexpr,
    BK: tl.constexpr,
):
    """One tile of sum_{t,s} <a_t, a_s> <g_t, g_s>; tiles above the diagonal give zero."""
    i, j, example = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    tiles = tl.num_programs(0)
    slot = parts_ptr + example * tiles * tiles + i * tiles + j
    if j > i:
        tl.store(slot, 0.0)
        return
    mine, other = i * BT + tl.arange(0, BT), j * BT + tl.arange(0, BT)
    depth = tl.arange(0, BK)
    start = example.to(tl.int64) * T
    inner = tl.zeros((BT, BT), dtype=tl.float32)
    outer = tl.zeros((BT, BT), dtype=tl.float32)
    for k in range(0, D, BK):
        live = (k + depth) < D
        x = tl.load(
            a_ptr + (start + mine)[:, None] * D + (k + depth)[None, :],
            mask=(mine < T)[:, None] & live[None, :],
            other=0.0,
        )
        y = tl.load(
            a_ptr + (start + other)[None, :] * D + (k + depth)[:, None],
            mask=(other < T)[None, :] & live[:, None],
            other=0.0,
        )
        if UPCAST:
            x, y = x.to(tl.float32), y.to(tl.float32)
        inner = tl.dot(x, y, inner, input_precision="ieee")
    for k in range(0, P, BK):
        live = (k + depth) < P
        x = tl.load(
            g_ptr + (start + mine)[:, None] * P + (k + depth)[None, :],
            mask=(mine < T)[:, None] & live[None, :],
            other=0.0,
        )
        y = tl.load(
            g_ptr + (start + other)[None, :] * P + (k + depth)[:, None],
            mask=(other < T)[None, :] & live[:, None],
            other=0.0,
        )
        if UPCAST:
            x, y = x.to(tl.float32), y.to(tl.float32)
        outer = tl.dot(x, y, outer, input_precision="ieee")
    if HAS_BIAS:
        inner += 1.0
    total = tl.sum(inner * outer)
    tl.store(slot, tl.where(i == j, total, 2.0 * total))


@jit
def clip_small(
    a_ptr,
    g_ptr,
    sums_ptr,
    norms2_ptr,
    B,
    T,
    D,
    P,
    bound,
    SLOTS: tl.constexpr,
    UPCAST: tl.constexpr,
    BP: tl.constexpr,
    BD: tl.constexpr,
    BT: tl.constexpr,
):
    """A whole small gradient on one processor: form, norm, clip and add in one pass.

    Program s takes examples s, s + SLOTS, ... and writes its own sum. No bias (LoRA's layers).
    """
    slot = tl.program_id(0)
    rows, columns = tl.arange(0, BP), tl.arange(0, BD)
    total = tl.zeros((BP, BD), dtype=tl.float32)
    for example in range(slot, B, SLOTS):
        one = tl.zeros((BP, BD), dtype=tl.float32)
        for first in range(0, T, BT):
            g, a = _factors(
                a_ptr, g_ptr, tl.cast(example, tl.int64), first, T, D, P, rows, columns, UPCAST, BT
            )
            one = tl.dot(g, a, one, input_precision="ieee")
        squared = tl.sum(one * one)
        tl.store(norms2_ptr + example, squared)
        # Slack: the float32 sum of squares, the root and the division, together below 2**-17.
        factor = tl.minimum(1.0, bound * (1.0 - 0.00000762939453125) / tl.sqrt(squared))
        finite = (squared < float("inf")) & (squared == squared)
        total += tl.where(finite, factor * one, 0.0)
    at = sums_ptr + slot * P * D + rows[:, None] * D + columns[None, :]
    tl.store(at, total, mask=(rows < P)[:, None] & (columns < D)[None, :])


@jit
def _quarter_round(a, b, c, d):
    a = a + b
    d = d ^ a
    d = (d << 16) | (d >> 16)
    c = c + d
    b = b ^ c
    b = (b << 12) | (b >> 20)
    a = a + b
    d = d ^ a
    d = (d << 8) | (d >> 24)
    c = c + d
    b = b ^ c
    b = (b << 7) | (b >> 25)
    return a, b, c, d


@jit
def _add_pair(values_ptr, at, count, radius_word, angle_word, scale):
    """values[at] += cosine, values[at + 16] += sine of one Box-Muller pair (noise/api.py)."""
    low = (radius_word.to(tl.float32) + 0.5) * 2.3283064365386963e-10
    rest = ((radius_word ^ 0xFFFFFFFF).to(tl.float32) + 0.5) * 2.3283064365386963e-10
    series = rest * (1.0 + rest * (0.5 + rest * (0.3333333333 + rest * 0.25)))
    nats = tl.where(rest < 0.00390625, series, -tl.log(low))
    radius = scale * tl.sqrt(2.0 * nats)
    # The nearest quarter turn from the top bits, the rest by polynomials: the library's cos would
    # keep a table on the stack for angles that do not occur.
    quarter = (angle_word + 0x20000000) >> 30
    rest_word = angle_word - (quarter << 30)
    x = rest_word.to(tl.int32, bitcast=True).to(tl.float32) * 1.4629180792671597e-09
    y = x * x
    s = x + x * y * (-1.6666654611e-1 + y * (8.3321608736e-3 - y * 1.9515295891e-4))
    poly = 4.166664568298827e-2 + y * (-1.388731625493765e-3 + y * 2.443315711809948e-5)
    c = 1.0 - 0.5 * y + y * y * poly
    odd = (quarter & 1) == 1
    cosine = tl.where(odd, s, c)
    cosine = tl.where(((quarter + 1) & 2) == 2, -cosine, cosine)
    sine = tl.where(odd, c, s)
    sine = tl.where((quarter & 2) == 2, -sine, sine)
    first = tl.load(values_ptr + at, mask=at < count, other=0.0)
    tl.store(values_ptr + at, first + radius * cosine, mask=at < count)
    last = at + 16
    second = tl.load(values_ptr + last, mask=last < count, other=0.0)
    tl.store(values_ptr + last, second + radius * sine, mask=last < count)


@jit
def add_noise(key_ptr, nonce_ptr, values_ptr, count, counter, scale, BLOCKS: tl.constexpr):
    """ChaCha20 (RFC 8439), one block a lane, and Box-Muller behind it. BLOCKS: multiple of 16."""
    block = tl.program_id(0) * BLOCKS + tl.arange(0, BLOCKS)
    z = tl.zeros((BLOCKS,), dtype=tl.uint32)
    c0, c1, c2, c3 = z + 0x61707865, z + 0x3320646E, z + 0x79622D32, z + 0x6B206574
    k0, k1 = z + tl.load(key_ptr + 0), z + tl.load(key_ptr + 1)
    k2, k3 = z + tl.load(key_ptr + 2), z + tl.load(key_ptr + 3)
    k4, k5 = z + tl.load(key_ptr + 4), z + tl.load(key_ptr + 5)
    k6, k7 = z + tl.load(key_ptr + 6), z + tl.load(key_ptr + 7)
    place = (block + counter).to(tl.uint32)
    n0, n1 = z + tl.load(nonce_ptr + 0), z + tl.load(nonce_ptr + 1)
    n2 = z + tl.load(nonce_ptr + 2)
    x0, x1, x2, x3, x4, x5, x6, x7 = c0, c1, c2, c3, k0, k1, k2, k3
    x8, x9, xa, xb, xc, xd, xe, xf = k4, k5, k6, k7, place, n0, n1, n2
    for _ in range(10):
        x0, x4, x8, xc = _quarter_round(x0, x4, x8, xc)
        x1, x5, x9, xd = _quarter_round(x1, x5, x9, xd)
        x2, x6, xa, xe = _quarter_round(x2, x6, xa, xe)
        x3, x7, xb, xf = _quarter_round(x3, x7, xb, xf)
        x0, x5, xa, xf = _quarter_round(x0, x5, xa, xf)
        x1, x6, xb, xc = _quarter_round(x1, x6, xb, xc)
        x2, x7, x8, xd = _quarter_round(x2, x7, x8, xd)
        x3, x4, x9, xe = _quarter_round(x3, x4, x9, xe)
    at = (block // 16).to(tl.int64) * 256 + block % 16
    _add_pair(values_ptr, at, count, x0 + c0, x1 + c1, scale)
    _add_pair(values_ptr, at + 32, count, x2 + c2, x3 + c3, scale)
    _add_pair(values_ptr, at + 64, count, x4 + k0, x5 + k1, scale)
    _add_pair(values_ptr, at + 96, count, x6 + k2, x7 + k3, scale)
    _add_pair(values_ptr, at + 128, count, x8 + k4, x9 + k5, scale)
    _add_pair(values_ptr, at + 160, count, xa + k6, xb + k7, scale)
    _add_pair(values_ptr, at + 192, count, xc + place, xd + n0, scale)
    _add_pair(values_ptr, at + 224, count, xe + n1, xf + n2, scale)


INTERPRETED = bool(triton.knobs.runtime.interpret)
