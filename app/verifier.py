"""A verifier of exported ledgers in one file: `cryptography` and the standard library.

    python verifier.py ledger.jsonl --public-key key.pub

It trusts nothing that the bundle says of itself. From the entries alone it recomputes hashes,
sums and every decision: each charge from its price, each price from its mechanism where that has a
closed form, each admission by its own code for the filters. The signed checkpoints say that no
entry was left out or written anew; the key has to come from elsewhere (R23).

Exit code 0: nothing found wrong. 1: something is wrong; the first bad entry is named, with what is
wrong and what that means. 2: the bundle or the key could not be read.

The rules that are cited as R1, R5 and so on are those of the ledger's own documents; each is said
in words where it is checked.
"""

import argparse
import base64
import binascii
import bisect
import gc
import hashlib
import json
import math
import operator
import re
import struct
import sys
import time
from calendar import monthrange
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

NOT_POISSON: Final = ("shuffle", "fixed", "replacement")
BUNDLE_KIND: Final = "epsilon-ledger/bundle"
ENTRY_TAG: Final = b"epsilon-ledger/entry/1\n"
CHECKPOINT_TAG: Final = b"epsilon-ledger/checkpoint/1\n"
HEADS_TAG: Final = b"epsilon-ledger/heads/1\n"
GENESIS: Final = "0" * 64

# a line longer than this is no entry; a checkpoint lists every chain's head
LINE_MOST: Final = 2**24
CHECKPOINT_LINE_MOST: Final = 2**26
PARTS_KEPT: Final = 2**15
SEGMENTS_MOST: Final = 2**16
RANGES_MOST: Final = 2**12
BLOCKS_MOST: Final = 2**12
PARTS_MOST: Final = 64
DEPTH_MOST: Final = 8
NODES_MOST: Final = 64
LEVELS_MOST: Final = 64
UNITS_MOST: Final = 2**40
EXPONENT_MOST: Final = 400
RECORDS_MOST: Final = 2**20
WHOLE_MOST: Final = 2**53 - 1
BLOCK_END: Final = 2**53
# clocks of two chains are compared only beyond this: a transaction takes its time before its turn
SLACK: Final = timedelta(minutes=5)
PROGRESS_S: Final = 2.0
# less noise than this takes too fine a grid
LEAST_INTEGRATED: Final = Decimal("0.05")
PROGRESS_LINES: Final = 4096

ORDERS_ID: Final = "rdp-36/1"
QUARTERS: Final = (
    *(5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 112, 128),
    *(160, 192, 224, 256, 320, 384, 512, 768, 1024, 1536, 2048, 4096),
)
ORDERS: Final = tuple(Fraction(quarters, 4) for quarters in QUARTERS)
NAT: Final = 2**40
ATTO: Final = 10**18
WEIGHT: Final = 2**80
DEAD_FROM: Final = 2**54
# R1: a library value is charged with this factor and this much on top
INFLATION: Final = 1 + Fraction(1, 10**9)
INFLATION_NATS: Final = Fraction(1, 2**50)
EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN, Emax=MAX_EMAX, Emin=MIN_EMIN)

MEANINGS: Final[Mapping[str, str]] = {
    "form": "The line is not what an export writes. What it should have said cannot be known.",
    "hash": "The entry is not the one that was hashed: it was changed after it was written.",
    "chain": "Entries were removed, added, repeated or moved: the history is not the one written.",
    "time": "Entries of one chain never go back in time: this one was put there later.",
    "charge": "What the ledger took from the budget is not what the mechanism loses.",
    "price": "The price does not belong to its mechanism: charges made by it prove nothing.",
    "limit": "The budget was overspent: its limit does not bound what was lost.",
    "policy": "The limit was set or moved in a way that its proof does not cover.",
    "people": "The change needs two people, and the entry does not show two.",
    "state": "Something was done to a budget in a state in which that cannot be done.",
    "resolution": "A reservation ended as none can: spend was lost, doubled or made up.",
    "path": "A charge is missing in a budget that it belongs to, so that budget shows too little.",
    "tree": "The budgets do not form the tree that limits them.",
    "plan": "A frozen plan was used beyond its slots: its composed figure does not hold.",
    "signature": "The history is not the one that the ledger's key has signed.",
    "end": "The bundle was cut, or lines were changed after it was written.",
}
NOT_CHECKED: Final = (
    "that the code which ran is the mechanism that an entry names, with its noise and its sampler",
    "that every job that read the data asked the ledger first",
    "rows, results, and the names behind the ids",
    "Poisson-sampled Gaussians of noise below 0.05 at fractional orders: only held within bounds",
    "the composed figure of a frozen plan, unless all its slots are Gaussians (R10)",
    "the declared caps, sensitivities and block boundaries of a dataset",
    "the order of entries of two chains that are less than five minutes apart",
    "that the people behind two ids are two people",
    "what happened after the last checkpoint",
)


class Fault(Exception):
    """Something is wrong; `code` names the kind, and MEANINGS says what the kind means."""

    def __init__(
        self, code: str, what: str, *, budget: str | None = None, seq: int | None = None
    ) -> None:
        super().__init__(what)
        self.code, self.what, self.budget, self.seq = code, what, budget, seq

    def to_json(self) -> dict[str, Any]:
        """Where, what, and what it means."""
        return {
            "budget": self.budget,
            "seq": self.seq,
            "code": self.code,
            "what": self.what,
            "means": MEANINGS[self.code],
        }


class Unreadable(Exception):
    """The bundle or the key cannot be read at all."""


# --- reading -----------------------------------------------------


def dumps(value: object) -> str:
    """RFC 8785 text of a document of strings, whole numbers, booleans, null, lists, objects."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or not all(key.isascii() for key in found):
        raise ValueError("a key is there twice, or is not ASCII")
    return found


def _whole(text: str) -> int:
    if len(text) > len(str(WHOLE_MOST)) + 1 or abs(int(text)) > WHOLE_MOST:
        raise ValueError("a number is too large")
    return int(text)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text[:20]} is not a whole number")


def read_json(raw: bytes) -> Any:
    """A canonical document from its bytes.

    Raises:
        Fault: not JSON, not canonical, or a number that is not a small whole one.
    """
    try:
        text = raw.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
        if dumps(value).encode("utf-8") == raw:
            return value
    except (ValueError, RecursionError) as error:
        raise Fault("form", "a line is not JSON as an export writes it") from error
    raise Fault("form", "a line is not in canonical form (RFC 8785)")


def take(document: object, required: str, optional: str = "") -> Mapping[str, Any]:
    """The document as an object with exactly these keys; names are parted by blanks."""
    needed = set(required.split())
    if not isinstance(document, dict) or not needed <= set(document):
        raise Fault("form", f"an object with the fields {required} is expected")
    if not set(document) <= needed | set(optional.split()):
        raise Fault("form", f"an object holds other fields than {required} {optional}".rstrip())
    return document


def whole(value: object, least: int, most: int) -> int:
    """A whole number in a range; a boolean is none."""
    if type(value) is not int or not least <= value <= most:
        raise Fault("form", f"a whole number from {least} to {most} is expected")
    return value


_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE](-?[0-9]+))?", re.ASCII)
_SAMPLER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+/-]{0,63}", re.ASCII)
_NATURAL = re.compile(r"0|[1-9][0-9]{0,149}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def decimal(value: object, least: str, most: str) -> Decimal:
    """An exact decimal from its text, within a range."""
    match = _DECIMAL.fullmatch(value) if isinstance(value, str) and len(value) <= 40 else None
    # the exponent before the number: exact arithmetic on a long one would never end
    if match is not None and abs(int(match[1] or 0)) <= EXPONENT_MOST:
        found = Decimal(match[0])
        if Decimal(least) <= found <= Decimal(most):
            return found
    raise Fault("form", f"a decimal text from {least} to {most} is expected")


def natural(value: object) -> int:
    """A whole number from its decimal text."""
    if not isinstance(value, str) or _NATURAL.fullmatch(value) is None:
        raise Fault("form", "the text of a whole number is expected")
    return int(value)


def matching(value: object, pattern: re.Pattern[str], what: str) -> str:
    """A text of one form."""
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise Fault("form", f"{what} is expected")
    return value


def moment(text: str) -> datetime:
    """A UTC time from its text."""
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise Fault("form", f"{text} is no time") from error


# --- losses ------------------------------------------------------

# A loss is one whole number with lanes: 36 amounts in 2**-40 nat, 36 counts of dead orders,
# the counts of losses without a worst case and of those that are not Gaussian, then delta, Gaussian
# sum and worst case in 1e-18. Charges are below 2**54 and counts below 2**60, and what a price may
# hold has at most 150 digits, so no lane runs over into the next one: a sum is one addition.
Amount = int
_NATS: Final = 128
_DEAD_AT: Final = _NATS * 36
_DEAD: Final = 64
_NO_MAXIMUM_AT: Final = _DEAD_AT + _DEAD * 36
_NO_GAUSSIAN_AT: Final = _NO_MAXIMUM_AT + _DEAD
_DELTA_AT: Final = _NO_GAUSSIAN_AT + _DEAD
_WIDE: Final = 640
_GAUSSIAN_AT: Final = _DELTA_AT + _WIDE
_MAXIMUM_AT: Final = _GAUSSIAN_AT + _WIDE
_NATS_LANE: Final = 2**_NATS - 1
_DEAD_LANE: Final = 2**_DEAD - 1
_WIDE_LANE: Final = 2**_WIDE - 1
_PACK: Final = struct.Struct("<" + "Q8x" * 36 + "36Q2Q")
_UNPACK: Final = struct.Struct("<72Q36Q2Q")


def packed(
    nats: Iterable[int],
    dead: Iterable[int],
    no_maximum: int,
    no_gaussian: int,
    delta: int,
    gaussian: int,
    maximum: int,
) -> Amount:
    """A charge as one number."""
    low = int.from_bytes(_PACK.pack(*nats, *dead, no_maximum, no_gaussian), "little")
    return low | delta << _DELTA_AT | gaussian << _GAUSSIAN_AT | maximum << _MAXIMUM_AT


def unpacked(loss: Amount) -> tuple[list[int], tuple[int, ...]]:
    """The amounts of the 36 orders; their dead counts and the two counts after them."""
    low = loss & ((1 << _DELTA_AT) - 1)
    lanes = _UNPACK.unpack(low.to_bytes(_UNPACK.size, "little"))
    pairs = zip(lanes[:72:2], lanes[1:72:2], strict=True)
    return [under + (over << 64) for under, over in pairs], lanes[72:]


def charge_text(loss: Amount) -> str:
    """A loss as an entry writes it, in canonical form."""
    nats, counts = unpacked(loss)
    amounts = '","'.join(map(str, nats))
    return (
        f'{{"dead":[{",".join(map(str, counts[:36]))}],'
        f'"delta_atto":"{loss >> _DELTA_AT & _WIDE_LANE}",'
        f'"gaussian_atto":"{loss >> _GAUSSIAN_AT & _WIDE_LANE}","gaussian_dead":{counts[37]},'
        f'"maximum_atto":"{loss >> _MAXIMUM_AT}","maximum_dead":{counts[36]},'
        f'"nats_2p40":["{amounts}"],"orders":"{ORDERS_ID}"}}'
    )


# --- prices ------------------------------------------------------


@dataclass(slots=True)
class Price:
    """What one unit loses, from a price document that was recomputed as far as that is possible.

    rates: per order the exact 2**-40 nat of one unit with R1's inflation, as numerator and
        denominator; None where the order is dead.
    """

    digest: str
    relation: str
    mechanism: str
    rates: list[tuple[int, int] | None]
    maximum: int | None
    delta: int
    gaussian: int | None

    def charge(self, units: int) -> Amount:
        """`units` units: per order rounded up once, at least 1, dead from 2**54 on (R1, R2)."""
        if units == 0:
            return 0
        nats, dead = [], []
        for rate in self.rates:
            charge = DEAD_FROM if rate is None else (-(-rate[0] * units // rate[1]) or 1)
            dead.append(charge >= DEAD_FROM)
            nats.append(0 if charge >= DEAD_FROM else charge)
        return packed(
            nats,
            dead,
            int(self.maximum is None),
            int(self.gaussian is None),
            self.delta * units,
            0 if self.gaussian is None else -(-self.gaussian * units // ATTO),
            0 if self.maximum is None else self.maximum * units,
        )


def read_price(document: object) -> Price:
    """A price whose digest is that of its facts and whose facts are those of its mechanism."""
    facts = dict(
        take(
            document,
            "mechanism relation orders terms maximum_atto delta_atto gaussian_1e36 priced_by"
            " digest",
        )
    )
    digest = facts.pop("digest")
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise Fault("price", "the digest of a price is not that of its facts")
    if facts["orders"] != ORDERS_ID or not isinstance(facts["terms"], list) or not facts["terms"]:
        raise Fault("price", f"a price of other orders than {ORDERS_ID}")
    terms = []
    for each in facts["terms"]:
        term = take(each, "count nats")
        if not isinstance(term["nats"], list) or len(term["nats"]) != len(ORDERS):
            raise Fault("price", f"a price has {len(ORDERS)} orders")
        terms.append((natural(term["count"]), [_hexadecimal(nats) for nats in term["nats"]]))
    maximum, gaussian = facts["maximum_atto"], facts["gaussian_1e36"]
    counted = sum(count for count, _ in terms)
    library: list[Fraction | None] = []
    for index in range(len(ORDERS)):
        at_order = [(count, vector[index]) for count, vector in terms]
        dead = any(math.isinf(nats) for _, nats in at_order)
        library.append(None if dead else _summed(at_order))
    found = Price(
        digest,
        str(facts["relation"]),
        dumps(facts["mechanism"]),
        [None if each is None else _rate(each, counted) for each in library],
        None if maximum is None else natural(maximum),
        natural(facts["delta_atto"]),
        None if gaussian is None else natural(gaussian),
    )
    compare(found, library, counted)
    return found


@lru_cache(maxsize=256)
def read_price_line(raw: bytes) -> Price:
    """The price of a line of the table."""
    document = take(take(read_json(raw), "price")["price"], "digest document")
    found = read_price(document["document"])
    if found.digest != matching(document["digest"], _SHA256, "a digest"):
        raise Fault("price", "a price stands under another digest than its own")
    return found


@lru_cache(maxsize=256)
def repriced(mechanism: str, relation: str) -> "Terms":
    """What one unit of a mechanism loses in a relation, from its canonical text."""
    return Repricing(json.loads(mechanism), relation).terms


def _hexadecimal(text: object) -> float:
    if not isinstance(text, str) or len(text) > 40:
        raise Fault("price", "a price holds something that is no number")
    try:
        value = float.fromhex(text)
    except (ValueError, OverflowError) as error:
        raise Fault("price", "a price holds something that is no number") from error
    if not value >= 0 or value.hex() != text:
        raise Fault("price", "a price holds a loss below nothing, or no number")
    return value


def _summed(pairs: Iterable[tuple[int, float]]) -> Fraction:
    return sum((count * Fraction(value) for count, value in pairs), Fraction(0))


def _rate(library: Fraction, counted: int) -> tuple[int, int]:
    rate = (library * INFLATION + counted * INFLATION_NATS) * NAT
    return rate.numerator, rate.denominator


class Terms(NamedTuple):
    """What one unit of a mechanism loses, recomputed here.

    low, high: per order, bounds on the loss in nats; equal where it has a closed form.
    counted: how many library values it is the sum of. delta: least and most, in 1e-18.
    gaussian: squared sensitivity over noise in 1e-36, rounded up; None where not all is Gaussian.
    may_die: whether an order may be charged as infinite.
    """

    low: list[Fraction]
    high: list[Fraction]
    counted: int
    maximum: Fraction | None
    delta: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0))
    gaussian: int | None = None
    may_die: bool = False

    def times(self, count: int) -> "Terms":
        return self._replace(
            low=[each * count for each in self.low],
            high=[each * count for each in self.high],
            counted=self.counted * count,
            maximum=None if self.maximum is None else self.maximum * count,
            delta=(self.delta[0] * count, self.delta[1] * count),
            gaussian=None if self.gaussian is None else self.gaussian * count,
        )

    def beside(self, other: "Terms") -> "Terms":
        apart = self.maximum is None or other.maximum is None
        mixed = self.gaussian is None or other.gaussian is None
        return Terms(
            [one + two for one, two in zip(self.low, other.low, strict=True)],
            [one + two for one, two in zip(self.high, other.high, strict=True)],
            self.counted + other.counted,
            None if apart else (self.maximum or 0) + (other.maximum or Fraction(0)),
            (self.delta[0] + other.delta[0], self.delta[1] + other.delta[1]),
            None if mixed else (self.gaussian or 0) + (other.gaussian or 0),
            self.may_die or other.may_die,
        )


class Repricing:
    """The loss of one unit from the mechanism's own parameters (R6, R7)."""

    MOVED: Final[Mapping[str, Mapping[str, int]]] = {
        "poisson_sampled": {"add_remove": 1, "zero_out": 1},
        "tree_aggregation": {"zero_out": 1},
        "randomized_response": {"replace_one": 1, "zero_out": 1},
    }
    SAME: Final[Mapping[str, int]] = {"add_remove": 1, "replace_one": 2, "zero_out": 1}

    def __init__(self, mechanism: object, relation: str) -> None:
        self.relation = relation
        self.nodes = 0
        try:
            with localcontext(EXACT):
                self.terms = self._terms(mechanism, 1)
        except ArithmeticError as error:
            raise Fault("price", "a mechanism has no finite price") from error

    def _terms(self, mechanism: object, depth: int) -> Terms:
        self.nodes += 1
        if depth > DEPTH_MOST or self.nodes > NODES_MOST or not isinstance(mechanism, dict):
            raise Fault("price", "a price of no mechanism")
        kind = mechanism.get("type")
        if not isinstance(kind, str) or kind not in FIELDS:
            raise Fault("price", "a price of a mechanism that this verifier does not know")
        values = take(
            mechanism, "type " + FIELDS[kind], "sampler xi" if kind == "zcdp" else "sampler"
        )
        _require_sampler(kind, values)
        units = self.MOVED.get(kind, self.SAME).get(self.relation)
        if units is None:
            raise Fault("price", f"{kind} has no proven price under {self.relation[:20]}")
        if kind == "composed":
            if not isinstance(values["of"], list) or not values["of"]:
                raise Fault("price", "a composition of nothing")
            parts = [self._terms(each, depth + 1) for each in values["of"]]
            total = parts[0]
            for each in parts[1:]:
                total = total.beside(each)
            return total
        if kind == "repeated":
            return self._terms(values["of"], depth + 1).times(whole(values["count"], 1, UNITS_MOST))
        if kind == "threshold":
            return self._threshold(values, units)
        if kind == "poisson_sampled":
            return self._poisson(values, depth)
        return leaf(kind, values, units)

    def _threshold(self, values: Mapping[str, Any], units: int) -> Terms:
        """The noise of one key for each key of a unit, and the delta apart."""
        self.nodes += 1
        inner = values["of"]
        kind = inner.get("type") if isinstance(inner, dict) else None
        if kind not in ("laplace", "discrete_laplace", "gaussian", "discrete_gaussian"):
            raise Fault("price", "a threshold over something that is no additive noise")
        of = take(inner, "type " + FIELDS[kind], "sampler")
        _require_sampler(kind, of)
        noise = leaf(kind, of, 1)
        keys = whole(values["groups"], 1, UNITS_MOST) * units
        delta = Fraction(decimal(values["delta"], "1e-15", "0.1")) * units
        return noise.times(keys)._replace(delta=(delta, delta), gaussian=None)

    def _poisson(self, values: Mapping[str, Any], depth: int) -> Terms:
        self.nodes += 1
        inner = values["of"]
        if depth + 1 > DEPTH_MOST or not isinstance(inner, dict) or inner.get("type") != "gaussian":
            raise Fault("price", "only a gaussian has a proven price on a Poisson sample")
        of = take(inner, "type noise_multiplier", "sampler")
        _require_sampler("gaussian", of)
        rate = decimal(values["rate"], "1e-9", "1")
        noise = decimal(of["noise_multiplier"], "1e-3", "1e9")
        low, high = poisson_bounds(rate, noise)
        return Terms(low, high, 1, None, may_die=True)


def _require_sampler(kind: str, values: Mapping[str, Any]) -> None:
    """A sampler is named by a short text; one that is not Poisson's has no Poisson price (R28)."""
    if "sampler" not in values:
        return
    named = matching(values["sampler"], _SAMPLER, "the name of a sampler").lower()
    if kind == "poisson_sampled" and any(each in named for each in NOT_POISSON):
        raise Fault("price", "a batch that was not drawn by Poisson is priced as if it were (R28)")


# what a group of k does to a mechanism: the one field that grows k times, or is a k-th of itself
GROWS: Final[Mapping[str, tuple[str, int]]] = {
    "gaussian": ("noise_multiplier", -1),
    "laplace": ("sensitivity_l1", 1),
    "discrete_laplace": ("sensitivity_l1", 1),
    "discrete_gaussian": ("sensitivity_l2", 1),
    "pure": ("epsilon", 1),
    "exponential": ("epsilon", 1),
    "randomized_response": ("epsilon", 1),
}


def require_group(stated: object, charged: object, records: int) -> None:
    """A mechanism that was stated for a record is charged for a user with so many of them (R7).

    Raises:
        Fault: it is charged below what its rule gives for that many, or no rule is proven.
    """
    if records == 1 and stated == charged:
        return
    kind = stated.get("type") if isinstance(stated, dict) else None
    if not isinstance(kind, str) or not isinstance(charged, dict) or charged.get("type") != kind:
        raise Fault("price", "a part is charged as another mechanism than the one it was stated as")
    optional = "sampler xi" if kind == "zcdp" else "sampler"
    if kind not in {*GROWS, "approximate", "zcdp", "repeated", "composed"}:
        raise Fault("price", f"{kind[:20]} has no proven rule for several records (R7)")
    one, all_ = (take(each, "type " + FIELDS[kind], optional) for each in (stated, charged))
    if kind == "composed":
        pairs = list(zip(one["of"], all_["of"], strict=True))
    else:
        pairs = [(one["of"], all_["of"])] if kind == "repeated" else []
    for inner in pairs:
        require_group(*inner, records)
    moved = {"of"} if pairs else set()

    def value(document: Mapping[str, Any], name: str) -> Fraction:
        moved.add(name)
        return Fraction(decimal(document.get(name, "0"), "0", "1e30"))

    covers = True
    if kind in GROWS:
        name, sense = GROWS[kind]
        least = value(one, name) * Fraction(records) ** sense
        covers = (value(all_, name) - least) * sense >= 0
    elif kind == "approximate":
        epsilon = value(one, "epsilon")
        covers = value(all_, "epsilon") >= epsilon * records and epsilon * records <= 10**4
        # more than the number of records, and where that shows the sum of their powers
        steps = Fraction(records)
        if covers and epsilon * records > Fraction(1, 10**20):
            with localcontext(EXACT):
                e = Decimal(epsilon.numerator) / epsilon.denominator
                steps = Fraction(((records * e).exp() - 1) / (e.exp() - 1))
            steps *= 1 - Fraction(1, 10**25)
        covers = covers and value(all_, "delta") >= value(one, "delta") * steps
    elif kind == "zcdp":
        rho, xi, doublings = value(one, "rho"), value(one, "xi"), (records - 1).bit_length()
        if xi:
            covers = value(all_, "rho") >= rho * 6**doublings
            covers = covers and value(all_, "xi") >= xi * 3**doublings + rho * 6**doublings
        else:
            covers = value(all_, "rho") >= rho * records**2
    rest = [{k: v for k, v in each.items() if k not in moved} for each in (one, all_)]
    if not covers or rest[0] != rest[1]:
        raise Fault("price", f"a part is charged for fewer records of a user than {records} (R7)")


def compare(found: Price, library: Sequence[Fraction | None], counted: int) -> None:
    """Whether the stored price is that of the mechanism: never below it, and not far above."""
    terms = repriced(found.mechanism, found.relation)
    if counted != terms.counted:
        raise Fault("price", "a price is the sum of another number of terms than its mechanism")
    for order, value, low, high in zip(ORDERS, library, terms.low, terms.high, strict=True):
        if value is None:
            if not terms.may_die:
                raise Fault("price", f"a price is infinite at order {float(order)}")
            continue
        if value * INFLATION + counted * INFLATION_NATS < low:
            raise Fault("price", f"a price is below its mechanism's loss at {float(order)}")
        if value > high * INFLATION + 2 * counted * INFLATION_NATS:
            raise Fault("price", f"a price is above its mechanism's loss at {float(order)}")
    maximum = None if terms.maximum is None else math.ceil(terms.maximum * ATTO)
    if found.maximum != maximum:
        raise Fault("price", "the worst-case loss of a price is not that of its mechanism")
    least, most = (math.ceil(each * ATTO) for each in terms.delta)
    if not least <= found.delta <= most:
        raise Fault("price", "the delta of a price is not that of its mechanism")
    if found.gaussian != terms.gaussian:
        raise Fault("price", "the Gaussian sum of a price is not that of its mechanism")


FIELDS: Final[Mapping[str, str]] = {
    "gaussian": "noise_multiplier",
    "laplace": "scale sensitivity_l1",
    "discrete_laplace": "scale sensitivity_l1",
    "discrete_gaussian": "sigma sensitivity_l2",
    "pure": "epsilon",
    "approximate": "epsilon delta",
    "zcdp": "rho",
    "exponential": "epsilon",
    "randomized_response": "epsilon",
    "threshold": "of groups delta",
    "tree_aggregation": "noise_multiplier steps",
    "poisson_sampled": "rate of",
    "repeated": "count of",
    "composed": "of",
}


def leaf(kind: str, values: Mapping[str, Any], units: int) -> Terms:
    """One mechanism that is made of no others, for a step of the relation that moves `units`."""
    if kind == "gaussian":
        noise = decimal(values["noise_multiplier"], "1e-3", "1e9")
        squared = Fraction(units * units) / Fraction(noise) ** 2
        return _line(squared / 2)._replace(gaussian=math.ceil(squared * ATTO**2))
    if kind == "discrete_gaussian":
        ratio = Fraction(decimal(values["sensitivity_l2"], "1e-30", "1e30")) * units
        ratio /= Fraction(decimal(values["sigma"], "1e-30", "1e30"))
        return _line(ratio * ratio / 2)
    if kind == "zcdp":
        xi = decimal(values.get("xi", "0"), "0", "1e4")
        if units > 1 and xi:
            raise Fault("price", "two units have no proven bound where xi is above 0")
        rho = Fraction(decimal(values["rho"], "1e-18", "1e4"))
        return _line(rho * units * units, Fraction(xi))
    if kind == "tree_aggregation":
        noise = decimal(values["noise_multiplier"], "1e-3", "1e9")
        height = whole(values["steps"], 1, UNITS_MOST).bit_length()
        return _line(Fraction(height) / (2 * Fraction(noise) ** 2))
    scale = None
    if kind in ("laplace", "discrete_laplace"):
        scale = Fraction(decimal(values["scale"], "1e-30", "1e30"))
        moved = Fraction(decimal(values["sensitivity_l1"], "1e-30", "1e30"))
        if kind == "discrete_laplace" and moved.denominator != 1:
            raise Fault("price", "discrete noise covers a sensitivity that is whole, and no other")
        loss = moved * units / scale
    else:
        loss = Fraction(decimal(values["epsilon"], "0", "1e4")) * units
    if loss > 2 * 10**4:
        raise Fault("price", "a loss beyond every limit")
    curve = list(_curve(kind, loss, scale))
    delta = (Fraction(0), Fraction(0))
    if kind == "approximate":
        share = Fraction(decimal(values["delta"], "1e-15", "0.1"))
        delta = (share, share)
        if units > 1:
            grown = share * (1 + Fraction(Decimal(str(values["epsilon"])).exp()))
            # whatever runs is private with a delta of 1
            delta = (min(grown, Fraction(1)), grown * (1 + Fraction(2, 10**40)))
    return Terms(curve, curve, 1, loss, delta)


def _line(slope: Fraction, constant: Fraction = Fraction(0)) -> Terms:
    nats = [slope * order + constant for order in ORDERS]
    return Terms(nats, nats, 1, None)


@lru_cache(maxsize=4096)
def _curve(kind: str, loss: Fraction, scale: Fraction | None) -> tuple[Fraction, ...]:
    """The divergences of a mechanism with a finite worst-case loss, in 60 digits."""
    e = Decimal(loss.numerator) / loss.denominator
    found = []
    for order in ORDERS:
        a = Decimal(order.numerator) / order.denominator
        if kind in ("laplace", "exponential"):
            kept, lost = a / (2 * a - 1), (a - 1) / (2 * a - 1)
            moment_ = kept * ((a - 1) * e).exp() + lost * (-a * e).exp()
        elif kind == "discrete_laplace" and scale is not None:
            step, x = Decimal(scale.denominator) / scale.numerator, 2 * a - 1
            p, under = (-step).exp(), 1 - (-step * x).exp()
            kept = (1 - (-step * (x + 1)).exp()) / ((1 + p) * under)
            lost = (p - (-step * x).exp()) / ((1 + p) * under)
            moment_ = kept * ((a - 1) * e).exp() + lost * (-a * e).exp()
        else:
            flipped = (-e).exp() / (1 + (-e).exp())
            moment_ = (1 - flipped) * ((a - 1) * e).exp() + flipped * ((1 - a) * e).exp()
        nats = max(Decimal(0), moment_.ln() / (a - 1))
        found.append(Fraction(min(nats, a * e * e / 8) if kind == "exponential" else nats))
    return tuple(found)


@lru_cache(maxsize=4096)
def poisson_bounds(rate: Decimal, noise: Decimal) -> tuple[list[Fraction], list[Fraction]]:
    """Bounds on the divergences of a Gaussian on a Poisson sample.

    Whole orders: the exact sum (Mironov, Talwar and Zhang 2019), in floats to 1e-10. Fractional
    orders: (a-1) R(a) is convex, so it lies below its chord and above the lines of its neighbours;
    from below it is computed as an integral, or where the noise is too small for that by the one
    term q^a e^((a^2-a)/(2 s^2)).
    """
    line = [Fraction(order) / (2 * Fraction(noise) ** 2) for order in ORDERS]
    if rate == 1:
        return line, line
    if float(rate) == 1.0:  # no float tells it from 1: below the line by less than 1e-10
        return [value * (1 - Fraction(1, 10**10)) for value in line], line
    wanted = {1, 2, 3, *(n for order in ORDERS for n in (math.floor(order), math.ceil(order)))}
    wanted |= {math.floor(order) - 1 for order in ORDERS if order.denominator > 1}
    wanted |= {math.ceil(order) + 1 for order in ORDERS if order.denominator > 1}
    g = {n: _log_moment(float(rate), float(noise), n) for n in wanted if n >= 1}
    low, high = [], []
    for order in ORDERS:
        a, n, m = float(order), math.floor(order), math.ceil(order)
        if n == m:
            least = most = g[n] / (a - 1)
        else:
            most = ((m - a) * g[n] + (a - n) * g[m]) / (a - 1)
            before = g[n] + (a - n) * (g[n] - g[n - 1]) if n > 1 else 0.0
            after = g[m] - (m - a) * (g[m + 1] - g[m])
            if noise < LEAST_INTEGRATED:
                inside = a * math.log(float(rate)) + a * (a - 1) / (2 * float(noise) ** 2)
            else:
                inside = _log_moment_between(float(rate), float(noise), a) * (1 - 1e-9)
            least = max(before, after, inside, 0.0) / (a - 1)
        low.append(Fraction(least) * (1 - Fraction(1, 10**10)))
        # what the ledger adds to a fractional order for the errors of the series
        margin = Fraction(1, 2**38) if n < m else 0
        high.append(Fraction(most) * (1 + Fraction(1, 10**10)) + margin)
    return low, high


def _log_moment(rate: float, noise: float, order: int) -> float:
    """The log-moment ln A at a whole order.

    A - 1 = sum over k = 2..a of C(a,k) (1-q)^(a-k) q^k (e^((k^2-k)/(2 s^2)) - 1).
    """
    logs = []
    for k in range(2, order + 1):
        exponent = (k * k - k) / (2 * noise * noise)
        choose = math.lgamma(order + 1) - math.lgamma(k + 1) - math.lgamma(order - k + 1)
        excess = math.expm1(exponent) if exponent < 1 else 1 - math.exp(-exponent)
        shift = 0.0 if exponent < 1 else exponent
        weight = choose + (order - k) * math.log1p(-rate) + k * math.log(rate)
        logs.append(weight + shift + math.log(excess))
    if not logs:
        return 0.0
    largest = max(logs)
    total = largest + math.log(math.fsum(math.exp(each - largest) for each in logs))
    return total if total > 700 else math.log1p(math.exp(total))


def _log_moment_between(rate: float, noise: float, order: float) -> float:
    """The log-moment ln A at an order that need not be whole, by the trapezoidal rule.

    With u = q (e^((2x-1)/(2 s^2)) - 1) and x from N(0, s^2), A = E[(1+u)^a] and E[u] = 0, so A - 1
    is E[(1+u)^a - 1 - a u], of which nothing is negative: nothing cancels. What is left out beyond
    12 s, and the rule itself on this grid, are below 1e-15: 1 + u is nowhere 0 within pi s^2 of the
    real line.
    """
    a, spread = order, 2 * noise * noise
    step = min(noise / 4, noise * noise / 2)
    logs = []
    for k in range(math.ceil((a + 24 * noise) / step)):
        x = k * step - 12 * noise
        t = (2 * x - 1) / spread
        if t > 1 and math.log(rate) + t > 1:
            # ln(1 + u), without a power that no float holds
            above = math.log(rate) + t + math.log1p((1 - rate) * math.exp(-t) / rate)
            rest = (a - 1) * math.exp(-a * above) - a * math.exp((1 - a) * above)
            excess = a * above + math.log1p(rest)
        else:
            u = rate * math.expm1(t)
            value = _binomial_tail(u, a) if abs(u) < 0.01 else math.expm1(a * math.log1p(u)) - a * u
            if value <= 0:
                continue
            excess = math.log(value)
        logs.append(excess - x * x / spread)
    largest = max(logs)
    total = largest + math.log(math.fsum(math.exp(each - largest) for each in logs))
    total += math.log(step / (noise * math.sqrt(2 * math.pi)))
    return total if total > 700 else math.log1p(math.exp(total))


def _binomial_tail(u: float, a: float) -> float:
    """(1+u)^a - 1 - a u for a small u, by its series from the square on."""
    term, total = a * u, 0.0
    for k in range(2, 12):
        term *= (a - k + 1) / k * u
        total += term
    return total


# --- filters -----------------------------------------------------


class Policy:
    """The test of one budget, from the policy that its entries carry.

    document: as it stands in the entry.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.accountant = str(document["accountant"])
        limit = take(document["limit"], "epsilon delta")
        self.epsilon = decimal(limit["epsilon"], "1e-400", "1e4")
        self.delta = decimal(limit["delta"], "0", "0.1")
        self.delta_atto = math.floor(Fraction(self.delta) * ATTO)
        self.epsilon_atto = math.floor(Fraction(self.epsilon) * ATTO)

    def amount(self, parts: "Parts") -> Amount:
        """What an entry's parts are in this policy's counting."""
        return parts.loss

    def admits(self, held: Amount) -> bool:
        """Whether a budget may hold this in all."""
        raise NotImplementedError

    def check_new(self) -> None:
        """What has to hold of a policy at the creation of its budget."""

    def check_moved(self, old: "Policy") -> None:
        """What has to hold of a policy whose limit has moved from an older one (R5)."""
        if type(self) is not type(old) or self._fixed() != old._fixed():  # noqa: SLF001
            raise Fault("policy", "a change of the limit changed what is fixed at the creation")
        if self.delta < old.delta:
            raise Fault("policy", "a delta was lowered, which no rule allows")

    def _fixed(self) -> Any:
        return {
            name: value
            for name, value in self.document.items()
            if name not in ("limit", "weights_2p80")
        }


class Summed(Policy):
    """`basic/1` and `pure/1`: worst cases and deltas sum (Rogers et al. 2016)."""

    def admits(self, held: Amount) -> bool:
        """Whether the sums are within the limit."""
        if held >> _DELTA_AT & _WIDE_LANE > self.delta_atto:
            return False
        return not held >> _NO_MAXIMUM_AT & _DEAD_LANE and held >> _MAXIMUM_AT <= self.epsilon_atto


class Mixture(Policy):
    """`rdp-mix/1`: with weights fixed at the creation, a loss is within (epsilon, delta) iff

        (1 - e^(eps-L))_+  <=  sum_a l_a e^((a-1)(L - R(a)))      for every L with eps < L <= E. (*)

    Decided here without the margins of the service: first by what suffices, then by a walk in
    floats whose errors are bounded, then in 60 digits.
    """  # noqa: D415

    def __init__(self, document: Mapping[str, Any]) -> None:
        super().__init__(document)
        self.split = decimal(document["delta_split"], "0.01", "1")
        texts = document["weights_2p80"]
        if not isinstance(texts, list) or len(texts) != len(ORDERS):
            raise Fault("policy", f"a policy has {len(ORDERS)} weights")
        self.weights = tuple(natural(each) for each in texts)
        share = Fraction(self.split) * Fraction(self.delta)
        if self.delta == 0 or sum(self.weights) > share * WEIGHT:
            raise Fault("policy", "the weights come to more than the delta that they share")
        self.delta_atto = math.floor((1 - Fraction(self.split)) * Fraction(self.delta) * ATTO)
        self.epsilon_2p40 = int(Fraction(self.epsilon) * NAT)
        self.offsets, self.logs = weight_tables(self.weights)
        self.witness = 0

    def check_new(self) -> None:
        """The weights are those of R3, computed again."""
        if self.weights != weights_of(self.epsilon, self.delta, self.split):
            raise Fault("policy", "the weights are not those of the limit at the creation (R3)")

    def check_moved(self, old: Policy) -> None:
        """A raise moves epsilon only; a raise of delta multiplies every weight by one factor."""
        super().check_moved(old)
        assert isinstance(old, Mixture)  # noqa: S101 - of one type, as was just asked
        factor = Fraction(self.delta) / Fraction(old.delta)
        if self.weights != tuple(math.floor(weight * factor) for weight in old.weights):
            raise Fault("policy", "the weights were fitted anew, which no proof allows (R5)")

    def admits(self, held: Amount) -> bool:
        """The deltas, then what suffices, then (*)."""
        if held >> _DELTA_AT & _WIDE_LANE > self.delta_atto:
            return False
        has_maximum = not held >> _NO_MAXIMUM_AT & _DEAD_LANE
        if has_maximum and held >> _MAXIMUM_AT <= self.epsilon_atto:
            return True
        at = self.witness
        offset = self.offsets[at]
        if (
            offset is not None
            and not held >> _DEAD_AT + _DEAD * at & _DEAD_LANE
            and held >> _NATS * at & _NATS_LANE <= self.epsilon_2p40 + offset
        ):
            return True
        nats, dead = unpacked(held)
        usable = [
            index
            for index in range(len(ORDERS))
            if not dead[index] and self.offsets[index] is not None
        ]
        if not usable:
            return False
        nearest = min(usable, key=lambda index: nats[index] - (self.offsets[index] or 0))
        self.witness = nearest
        if nats[nearest] <= self.epsilon_2p40 + (self.offsets[nearest] or 0):
            return True
        most = None
        if has_maximum:
            most = -(-(held >> _MAXIMUM_AT) * NAT // ATTO) - self.epsilon_2p40
        near = [(index, self.epsilon_2p40 - nats[index]) for index in usable]
        return self._walk(near, most) or self._walk_exactly(near, most)

    def _walk(self, near: Sequence[tuple[int, int]], most: int | None) -> bool:
        """Whether floats prove (*); at x above epsilon the left side reaches r at -ln(1 - r).

        The exponents come from integers; where a term counts they are right to 2**-43, and the
        factor 1 - 2**-30 lies far above that. False says only: not by floats.
        """
        lines = [(float(ORDERS[i] - 1) / NAT, gap, self.logs[i]) for i, gap in near]
        at = 0
        for _ in range(1000):
            right = math.fsum(
                math.exp(min(slope * (gap + at) + log, 1.0)) for slope, gap, log in lines
            ) * (1 - 2.0**-30)
            if right >= 1:
                return True
            reached = math.floor(-math.log1p(-right) * (1 - 2.0**-40) * NAT)
            if most is not None and reached >= most:
                return True
            if reached <= at:
                return False
            at = reached
        return False

    def _walk_exactly(self, near: Sequence[tuple[int, int]], most: int | None) -> bool:
        """The same in 60 digits; a walk that comes to a halt has met a loss that breaks (*)."""
        with localcontext(EXACT):
            lines = [
                (
                    Decimal(QUARTERS[i] - 4) / 4 / NAT,
                    gap,
                    (Decimal(self.weights[i]) / WEIGHT).ln(),
                )
                for i, gap in near
                if float(ORDERS[i] - 1) / NAT * gap + self.logs[i] > -2000.0
            ]
            at = Decimal(0)
            for _ in range(3000):
                right = sum(
                    ((slope * (gap + at) + log).exp() for slope, gap, log in lines), Decimal(0)
                ) * (1 - Decimal("1e-50"))
                if right >= 1:
                    return True
                reached = -(1 - right).ln() * NAT
                if most is not None and reached >= most:
                    return True
                if reached - at <= at * Decimal("1e-12"):
                    return False
                at = reached
        return False


class Gaussians(Mixture):
    """`gdp/1`: unsampled continuous Gaussians, with mu^2 at (epsilon, split x delta)."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        # its weights share what the split leaves, and serve the running figure alone
        Policy.__init__(self, document)
        self.split = decimal(document["delta_split"], "0.01", "1")
        texts = document["weights_2p80"]
        if not isinstance(texts, list) or len(texts) != len(ORDERS):
            raise Fault("policy", f"a policy has {len(ORDERS)} weights")
        self.weights = tuple(natural(each) for each in texts)
        self.squares = natural(document["squares_atto"])

    def check_new(self) -> None:
        """mu^2 is the largest that its share of delta allows, and the weights share the rest."""
        share = Fraction(self.split) * Fraction(self.delta)
        below, above = (gaussian_delta(self.squares + n, self.epsilon) for n in (0, 1))
        if below > share or above < share * (1 - Fraction(1, 10**25)):
            raise Fault("policy", "mu^2 is not what epsilon and its share of delta allow")
        rest = 1 - self.split
        wanted = weights_of(self.epsilon, self.delta, rest) if rest else (0,) * len(ORDERS)
        if self.weights != wanted:
            raise Fault("policy", "the weights are not those of the limit at the creation (R3)")

    def check_moved(self, old: Policy) -> None:
        """Never: its limit is fixed."""
        raise Fault("policy", f"the limit of {old.accountant} cannot move")

    def admits(self, held: Amount) -> bool:
        """Whether all of it is Gaussian and within mu^2."""
        others = held >> _NO_GAUSSIAN_AT & _DEAD_LANE or held >> _DELTA_AT & _WIDE_LANE
        return not others and held >> _GAUSSIAN_AT & _WIDE_LANE <= self.squares


class Plan(Policy):
    """`plan-pld/1`: slots that were frozen before the first output; only counts are kept (R10)."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        super().__init__(document)
        facts = {name: value for name, value in document.items() if name != "digest"}
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        if hashlib.sha256(text.encode()).hexdigest() != document["digest"]:
            raise Fault("plan", "the digest of a plan is not that of its facts")
        self.composed = decimal(document["epsilon"], "0", "1e4")
        if self.composed > self.epsilon:
            raise Fault("plan", "the composed figure of a plan is above its limit")
        slots = document["slots"]
        if not isinstance(slots, list) or not 1 <= len(slots) <= PARTS_MOST:
            raise Fault("plan", f"a plan has 1 to {PARTS_MOST} slots")
        self.relation = document["relation"]
        self.slots: dict[str, tuple[int, str]] = {}
        self.counts: list[int] = []
        for index, each in enumerate(slots):
            slot = take(each, "name mechanism count")
            self.slots[str(slot["name"])] = (index, dumps(slot["mechanism"]))
            self.counts.append(whole(slot["count"], 1, UNITS_MOST))
        if len(self.slots) != len(slots):
            raise Fault("plan", "two slots of a plan have one name")

    def check_new(self) -> None:
        """Every slot has a price; a plan of Gaussians alone is composed anew, exactly."""
        squares: int | None = 0
        for slot, count in zip(self.document["slots"], self.counts, strict=True):
            one = repriced(dumps(slot["mechanism"]), str(self.relation)).gaussian
            squares = None if squares is None or one is None else squares + one * count
        if squares is None or self.delta == 0:
            return
        # rounded down: by less than the library's own rounding up of the figure
        if gaussian_delta(squares // ATTO, self.composed) > Fraction(self.delta):
            raise Fault("plan", "the Gaussians of a plan lose more than its composed figure says")

    def check_moved(self, old: Policy) -> None:
        """Never: everything in a plan is frozen."""
        raise Fault("plan", f"the limit of {old.accountant} cannot move")

    def amount(self, parts: "Parts") -> Amount:
        """Units by slot; each part names a slot and is exactly its mechanism."""
        units = 0
        for part, count in zip(parts.shape, parts.units, strict=True):
            index, mechanism = self.slots.get(part.slot or "", (-1, ""))
            if mechanism != part.price.mechanism or part.price.relation != self.relation:
                raise Fault("plan", "a part is not the mechanism of a slot of the plan")
            units += count << _NATS * index
        return units

    def admits(self, held: Amount) -> bool:
        """Whether every slot has the units."""
        return all(
            held >> _NATS * index & _NATS_LANE <= count for index, count in enumerate(self.counts)
        )


POLICIES: Final[Mapping[str, tuple[type[Policy], str, str]]] = {
    "rdp-mix/1": (
        Mixture,
        "rdp-mix/1+weights/1+grid/1",
        "accountant version limit delta_split weights_2p80",
    ),
    "gdp/1": (
        Gaussians,
        "gdp/1+weights/1+grid/1",
        "accountant version limit delta_split squares_atto weights_2p80",
    ),
    "basic/1": (Summed, "basic/1", "accountant version limit delta_split"),
    "pure/1": (Summed, "pure/1", "accountant version limit delta_split"),
    "plan-pld/1": (Plan, "", "accountant slots relation limit epsilon digest"),
}


def read_policy(document: object) -> Policy:
    """The policy that an entry carries."""
    if not isinstance(document, dict) or document.get("accountant") not in POLICIES:
        raise Fault("policy", "an entry carries no policy that this verifier knows")
    kind, version, fields = POLICIES[document["accountant"]]
    take(document, fields)
    if document.get("version", "") != version:
        raise Fault("policy", "a policy of a version that this verifier does not know")
    found = kind(document)
    if (found.accountant == "pure/1") != (found.delta == 0):
        raise Fault("policy", "a delta is 0 under pure/1 and above 0 elsewhere")
    return found


@lru_cache(maxsize=1024)
def weights_of(epsilon: Decimal, delta: Decimal, split: Decimal) -> tuple[int, ...]:
    """R3's weights in 2**-80, rounded down: half a bump around a*, half uniform in ln(a - 1)."""
    with localcontext(EXACT):
        places = [(Decimal(quarters) / 4 - 1).ln() for quarters in QUARTERS]
        last = len(places) - 1
        cells = [(places[min(i + 1, last)] - places[max(i - 1, 0)]) / 2 for i in range(last + 1)]
        log_inverse = -delta.ln()
        root = log_inverse.sqrt()
        # a* - 1 = root / (sqrt(Ld + eps) - root), without the difference of near equals
        peak = (root * ((log_inverse + epsilon).sqrt() + root) / epsilon).ln()
        heights = [-(((place - peak) / Decimal("0.25")) ** 2) / 2 for place in places]
        top = max(heights)
        bump = [(height - top).exp() * cell for height, cell in zip(heights, cells, strict=True)]
        all_bump, all_cells = sum(bump), sum(cells)
        conversion = split * delta * WEIGHT
        return tuple(
            math.floor(conversion * (lump / all_bump + cell / all_cells) / 2)
            for lump, cell in zip(bump, cells, strict=True)
        )


@lru_cache(maxsize=1024)
def weight_tables(weights: tuple[int, ...]) -> tuple[list[int | None], list[float]]:
    """B(a) - eps in 2**-40 nat, rounded down, and ln l_a: what one order alone may hold (R4)."""
    offsets: list[int | None] = []
    logs = []
    with localcontext(EXACT):
        for quarters, weight in zip(QUARTERS, weights, strict=True):
            if weight == 0:
                offsets.append(None)
                logs.append(-math.inf)
                continue
            a, log = Decimal(quarters) / 4, (Decimal(weight) / WEIGHT).ln()
            offset = -(1 - 1 / a).ln() + (a.ln() + log) / (a - 1)
            offsets.append(math.floor(offset * NAT - Decimal("1e-20")))
            logs.append(float(log))
    return offsets, logs


@lru_cache(maxsize=1024)
def gaussian_delta(squares_atto: int, epsilon: Decimal) -> Fraction:
    """The exact delta at epsilon of Gaussians with this mu^2 (Balle and Wang 2018, Theorem 8)."""
    if squares_atto == 0:
        return Fraction(0)
    with localcontext(EXACT) as context:
        context.prec = 100
        mean = (Decimal(squares_atto) / ATTO).sqrt()
        near, far = epsilon / mean - mean / 2, epsilon / mean + mean / 2
        return max(Fraction(0), Fraction(_tail(near) - epsilon.exp() * _tail(far)))


_PI: Final = Decimal(
    "3.1415926535897932384626433832795028841971693993751058209749445923078164062862089986280348253"
    "421170679821480865132823066470938446"
)


def _tail(value: Decimal) -> Decimal:
    """The standard normal mass above a value: by Taylor's series near 0, by a fraction far out."""
    if value < 0:
        return 1 - _tail(-value)
    density = (-value * value / 2).exp() / (2 * _PI).sqrt()
    if value < 7:
        term = total = value
        step = 0
        while term > total * Decimal("1e-100"):
            step += 1
            term *= value * value / (2 * step + 1)
            total += term
        return Decimal("0.5") - density * total
    ratio = value
    for level in range(500, 0, -1):
        ratio = value + level / ratio
    return density / ratio


# --- what a budget holds -----------------------------------------

Ranges = tuple[tuple[int, int], ...]


def read_ranges(document: object) -> Ranges:
    """The blocks of an entry: ascending inclusive ranges of indices that do not touch twice."""
    if not isinstance(document, list) or not 1 <= len(document) <= RANGES_MOST:
        raise Fault("form", f"blocks are 1 to {RANGES_MOST} ranges of indices")
    found, after = [], -1
    for each in document:
        if not isinstance(each, list) or len(each) != 2:
            raise Fault("form", "a range of blocks is its first and its last index")
        first, last = whole(each[0], 0, BLOCK_END - 2), whole(each[1], 0, BLOCK_END - 2)
        if not after < first <= last:
            raise Fault("form", "ranges of blocks ascend and no block is in two of them")
        found.append((first, last))
        after = last
    return tuple(found)


class Calendar(NamedTuple):
    """Periods of so many days or months from local midnight of a first day on, for ever.

    Where midnight is depends on a zone, whose rules differ from machine to machine and change. So
    only what holds in every zone is asked: midnight lies within OFFSET_MOST of that of UTC, and a
    clock is moved by CLOCK_CHANGE_MOST at the most.
    """

    days: int
    months: int
    first_day: date

    def begins(self, index: int) -> datetime:
        """Midnight of UTC on the first day of a period; the end of time beyond it."""
        try:
            if self.days:
                day = self.first_day + timedelta(days=self.days * index)
            else:
                years, month = divmod(self.first_day.month - 1 + self.months * index, 12)
                year = self.first_day.year + years
                last = monthrange(year, month + 1)[1]
                day = date(year, month + 1, min(self.first_day.day, last))
        except (ValueError, OverflowError):
            return datetime.max.replace(tzinfo=UTC)
        return datetime(day.year, day.month, day.day, tzinfo=UTC)

    def holds(self, starts_at: datetime, ends_at: datetime) -> bool:
        """Whether this is one of its periods, in some zone."""
        since = starts_at.date() - self.first_day
        months = (starts_at.year - self.first_day.year) * 12 + starts_at.month
        near = (
            since.days // self.days if self.days else (months - self.first_day.month) // self.months
        )
        for index in range(max(0, near - 1), near + 3):
            begins, ends = self.begins(index), self.begins(index + 1)
            is_near = max(abs(begins - starts_at), abs(ends - ends_at)) <= OFFSET_MOST
            if is_near and abs(ends - begins - (ends_at - starts_at)) <= CLOCK_CHANGE_MOST:
                return True
        return False


OFFSET_MOST: Final = timedelta(hours=16)
CLOCK_CHANGE_MOST: Final = timedelta(hours=3)
PERIODS: Final[Mapping[str, tuple[int, int]]] = {
    "day": (1, 0),
    "week": (7, 0),
    "month": (0, 1),
    "quarter": (0, 3),
    "year": (0, 12),
}


def read_calendar(document: object, others: str) -> Calendar:
    """The calendar of a document that holds these other fields as well."""
    facts = take(document, f"period time_zone first_day {others}")
    period, day = facts["period"], matching(facts["first_day"], _DAY, "a day")
    if period not in PERIODS:
        raise Fault("form", "a period of no length that this verifier knows")
    try:
        return Calendar(*PERIODS[period], date.fromisoformat(day))
    except ValueError as error:
        raise Fault("form", f"{day} is no day") from error


class Blocks(NamedTuple):
    """The blocks of a dataset: so many, and where they are of time when each of them is over."""

    most: int
    calendar: Calendar | None = None
    grace: timedelta = timedelta(0)

    def require_closed(self, ranges: Ranges, at: datetime) -> None:
        """A job is charged to blocks that are there and, with their grace, over (R8)."""
        last = ranges[-1][1]
        if last >= self.most:
            raise Fault("charge", "a charge names a block that there will never be")
        if self.calendar is None:
            return
        if self.calendar.begins(last + 1) + self.grace > at + OFFSET_MOST + SLACK:
            raise Fault("charge", "a charge names a block that was not over, so nobody was in it")

    def require_begun(self, ranges: Ranges, at: datetime) -> None:
        """Earlier spend is charged to every block that has begun: its rows may lie in any (L3)."""
        first, last = ranges[0]
        is_whole = len(ranges) == 1 and first == 0 and last < self.most
        if is_whole and last + 1 < self.most:
            begins = None if self.calendar is None else self.calendar.begins(last + 1)
            is_whole = begins is not None and begins > at - OFFSET_MOST - SLACK
        if not is_whole:
            raise Fault("charge", "earlier spend is missing in blocks that had begun")


def read_blocks(document: object) -> Blocks:
    """The blocks that the first entry of a budget names."""
    if isinstance(document, dict) and document.get("kind") == "unit_hash":
        fields = take(document, "kind count")
        return Blocks(whole(fields["count"], 2, BLOCKS_MOST))
    calendar = read_calendar(document, "kind column grace_days")
    facts = take(document, "kind column grace_days period time_zone first_day")
    if facts["kind"] != "time":
        raise Fault("form", "blocks of a kind that this verifier does not know")
    return Blocks(BLOCKS_MOST, calendar, timedelta(days=whole(facts["grace_days"], 0, 366)))


class Holdings:
    """What each block holds, as stretches of equal blocks; without blocks it is one stretch."""

    def __init__(self) -> None:
        self.starts = [0]
        self.values: list[Amount] = [0]

    def stretches(self, ranges: Ranges | None) -> range | list[int]:
        """The stretches that some blocks are; cut where a range begins or ends."""
        if ranges is None:
            return range(len(self.values))
        found: list[int] = []
        for first, last in ranges:
            self._cut(first)
            self._cut(last + 1)
        for first, last in ranges:
            at = bisect.bisect_left(self.starts, first)
            found += range(at, bisect.bisect_left(self.starts, last + 1))
        return found

    def _cut(self, block: int) -> None:
        at = bisect.bisect_left(self.starts, block)
        if at == len(self.starts) or self.starts[at] != block:
            if len(self.starts) >= SEGMENTS_MOST:
                raise Fault("form", "more stretches of blocks than a dataset has")
            self.starts.insert(at, block)
            self.values.insert(at, self.values[at - 1])


class Part(NamedTuple):
    """One part of an entry without its units; `rest` is what else the entry says of it."""

    price: Price
    slot: str | None
    rest: str


class Parts(NamedTuple):
    """The parts of an entry: what was charged, and the charge that follows from it.

    same: what has to be equal in all budgets of one dataset: prices in order.
    """

    shape: tuple[Part, ...]
    same: tuple[str, ...]
    units: tuple[int, ...]
    loss: Amount
    charge: str


class Record:
    """A reservation in one budget: what is needed to compare it with its other budgets."""

    __slots__ = ("at", "chain", "ended", "posted", "ranges", "same", "seq", "units")

    def __init__(
        self, chain: "Chain", seq: int, at: str, parts: Parts, ranges: Ranges | None
    ) -> None:
        self.chain, self.seq, self.at = chain, seq, at
        self.same, self.units, self.ranges = parts.same, parts.units, ranges
        self.ended: str | None = None
        self.posted: tuple[int, ...] | None = None


class OnRecord(NamedTuple):
    """Spend that two people put on record, in one of its budgets; units by price."""

    chain: "Chain"
    seq: int
    units: dict[str, int]
    ranges: Ranges | None
    scope: str


class Open(NamedTuple):
    """A reserved entry that nothing has resolved yet."""

    reservation: str
    job: str | None
    amount: Amount
    shape: tuple[Part, ...]
    record: Record


class Entry(NamedTuple):
    """One entry as it was read; `charge` is its canonical text."""

    budget: str
    seq: int
    at: str
    id: str
    kind: str
    actor: str
    reservation: str | None
    resolves: str | None
    job: str | None
    parts: str
    charge: str
    facts: Mapping[str, Any]


@dataclass(slots=True, eq=False)
class Chain:
    """One budget, walked entry by entry: what is allowed next follows from what came before."""

    book: "Book"
    id: str
    kind: str = ""
    parent: str | None = None
    dataset: str = ""
    state: str = "proposed"
    seq: int = 0
    head: str = GENESIS
    at: str = ""
    hashes: bytearray = field(default_factory=bytearray)
    ids: set[str] = field(default_factory=set)
    approvals: set[str] = field(default_factory=set)
    open: dict[str, Open] = field(default_factory=dict)
    used: set[tuple[str, ...]] = field(default_factory=set)
    # what spend on record makes the next entry be: its kind, and the approval that it names
    owed: tuple[str, str] | None = None
    # of a lifetime root: the jobs that were posted in it, and those whose results were published
    released: set[str] = field(default_factory=set)
    published: set[str] = field(default_factory=set)
    is_purged: bool = False
    # of windows: the periods they opened; of both, the changes of limit and the times of states
    refreshed: dict[str, tuple[int, str, Mapping[str, Any], Mapping[str, Any]]] = field(
        default_factory=dict
    )
    changes: list[tuple[int, str, str, Mapping[str, Any]]] = field(default_factory=list)
    states: list[tuple[str, str]] = field(default_factory=list)
    opened: Mapping[str, Any] = field(default_factory=dict)
    calendar: Calendar | None = None
    blocks: Blocks | None = None
    policy: Policy = field(init=False)
    held: Holdings = field(init=False)

    def walk(self, entry: Entry) -> None:
        """Take the next entry.

        Raises:
            Fault: it cannot follow what came before.
        """
        if entry.at < self.at:
            raise Fault("time", "the entry is older than the one before it")
        if entry.id in self.ids:
            raise Fault("chain", "an id is there twice in one chain")
        if self.owed is not None and self.owed != (entry.kind, entry.facts.get("approval")):
            raise Fault(*NOT_DONE[self.owed[0]])
        self.owed = None
        if (entry.kind == "opened") != (self.seq == 0):
            raise Fault("chain", "a chain begins with the one entry that opens its budget")
        step = STEPS.get(entry.kind)
        if step is None:
            raise Fault("form", "an entry of a kind that this verifier does not know")
        is_move = entry.kind in MOVES
        if is_move != (entry.reservation is not None) or (entry.job is not None and not is_move):
            raise Fault("form", f"an entry of kind {entry.kind} names what is not its own")
        if (entry.resolves is not None) != (is_move and entry.kind != "reserved"):
            raise Fault("form", "an entry resolves another one, or does so without being able to")
        if entry.kind not in CHARGING and (entry.parts != "[]" or entry.charge != ZERO_TEXT):
            raise Fault("charge", f"an entry of kind {entry.kind} charges something")
        step(self, entry)
        self.ids.add(entry.id)
        self.seq, self.at = entry.seq, entry.at

    def refuse(self, entry: Entry, prev: str) -> None:
        """Say why an entry is not the next one of this chain."""
        if entry.budget != self.id:
            raise Fault("chain", "the entry belongs to another budget")
        if entry.seq != self.seq + 1:
            raise Fault("chain", f"entry {self.seq + 1} is missing, repeated or out of place")
        if prev != self.head:
            raise Fault("chain", "the entry does not follow the one before it")

    def end(self) -> None:
        """Nothing follows any more; what only the walk needed is let go."""
        if self.owed is not None:
            raise Fault(*NOT_DONE[self.owed[0]], budget=self.id, seq=self.seq)
        self.ids.clear()
        self.released.clear()

    def _open(self, entry: Entry) -> None:
        facts = entry.facts
        self.opened = facts
        self.kind = str(facts.get("kind"))
        if self.kind not in PARENTS:
            raise Fault("tree", "the entry does not say what kind of budget it opens")
        self.dataset = matching(facts.get("dataset"), _UUID, "the id of a dataset")
        if facts.get("parent") is not None:
            self.parent = matching(facts["parent"], _UUID, "the id of a budget")
        if (self.parent is None) != (self.kind == "lifetime"):
            raise Fault("tree", "a lifetime root has no parent, and every other budget has one")
        if self.kind in ("lifetime", "window"):
            self._two_people(entry)
        self.policy = read_policy(facts.get("policy"))
        if isinstance(self.policy, Plan) and self.kind != "allocation":
            raise Fault("plan", f"a {self.kind} is a plan: no filter would bound what it holds")
        self._read_calendars()
        if self.kind != "period":  # a period begins with the limit of its window, moved or not
            self.policy.check_new()
        self.held = Holdings()
        self._move_state("open", entry)

    def _read_calendars(self) -> None:
        """The calendar of a window, and the blocks of a dataset that is divided."""
        facts = self.opened
        if self.kind == "window":
            self.calendar = read_calendar(facts.get("calendar"), "refresh_when")
            if facts["calendar"]["refresh_when"] not in ("always", "new_data"):
                raise Fault("form", "a window that is refreshed by no rule")
        if facts.get("partition") is not None:
            self.blocks = read_blocks(facts["partition"])

    def _reserve(self, entry: Entry) -> None:
        if self.state != "open":
            raise Fault("state", f"something was reserved on a budget that is {self.state}")
        if self.kind == "window":
            raise Fault("tree", "a window holds nothing itself; its periods do")
        parts, ranges = self._charged(entry)
        if not any(parts.units):
            raise Fault("charge", "a reservation of nothing")
        amount = self.policy.amount(parts)
        self._add(amount, ranges, is_asked=True)
        assert entry.reservation is not None  # noqa: S101 - asked in `walk`
        record = Record(self, entry.seq, entry.at, parts, ranges)
        self.book.reservations.setdefault(entry.reservation, []).append(record)
        self.open[entry.id] = Open(entry.reservation, entry.job, amount, parts.shape, record)

    def _resolve(self, entry: Entry) -> None:
        assert entry.resolves is not None  # noqa: S101 - asked in `walk`
        held = self.open.pop(entry.resolves, None)
        if held is None:
            raise Fault("resolution", "the entry resolves nothing that is open in this budget")
        if (entry.reservation, entry.job) != (held.reservation, held.job):
            raise Fault("resolution", "the entry resolves another reservation than it names")
        parts, ranges = self._charged(entry)
        if parts.shape != held.shape or ranges != held.record.ranges:
            raise Fault("resolution", "what was ended is not what was reserved")
        if not all(map(operator.le, parts.units, held.record.units)):
            raise Fault("resolution", "more units were posted than were reserved")
        if entry.kind == "voided" and any(parts.units):
            raise Fault("resolution", "a voided reservation charges something")
        # below nothing as a number, but no lane of what is left is: it was added before
        freed = self.policy.amount(parts) - held.amount
        values = self.held.values
        for at in self.held.stretches(ranges):
            values[at] += freed
        held.record.ended, held.record.posted = entry.kind, parts.units
        if self.kind == "lifetime" and entry.kind == "posted" and entry.job is not None:
            self.released.add(entry.job)

    def _put_on_record(self, entry: Entry) -> None:
        """Spend that no reservation holds, from before the service or lost with a database.

        It is charged whatever the limit says, and a budget that it takes beyond is then frozen. A
        period is not: it lets nothing more start when it is full. A frozen plan is closed, since no
        slot names what ran beside them (R10, R22). A root may say that nothing of what was lost
        could be charged.
        """
        if self.kind == "window":
            raise Fault("tree", "a window holds nothing itself; its periods do")
        self._two_people(entry)
        approval, is_plan = str(entry.facts.get("approval")), isinstance(self.policy, Plan)
        if entry.parts == "[]" and entry.charge == ZERO_TEXT and self.kind == "lifetime":
            units: dict[str, int] = {}
            ranges = None
        else:
            parts, ranges = self._charged(entry)
            if not is_plan:
                self._add(self.policy.amount(parts), ranges, is_asked=False)
            units = {}
            for part, count in zip(parts.shape, parts.units, strict=True):
                units[part.price.digest] = units.get(part.price.digest, 0) + count
        if is_plan:
            self.owed = None if self.state == "closed" else ("closed", approval)
        elif self.state == "open" and self.kind != "period" and not self._passes():
            self.owed = ("frozen", approval)
        self.book.openings.setdefault(approval, []).append(
            OnRecord(self, entry.seq, units, ranges, str(entry.facts.get("scope")))
        )

    def _refresh(self, entry: Entry) -> None:
        if self.kind != "window" or self.state != "open":
            raise Fault("state", "a period was opened by something that is no open window")
        period = matching(entry.facts.get("period"), _UUID, "the id of a period")
        if period in self.refreshed:
            raise Fault("tree", "a period was opened twice")
        self.refreshed[period] = (entry.seq, entry.at, entry.facts, self.policy.document)

    def _raise(self, entry: Entry) -> None:
        if self.kind != "allocation":
            self._two_people(entry)
        old, new = self._moved(entry)
        if not (
            new.epsilon >= old.epsilon and (new.epsilon, new.delta) != (old.epsilon, old.delta)
        ):
            raise Fault("policy", "a raise that raises nothing")

    def _lower(self, entry: Entry) -> None:
        old, new = self._moved(entry)
        if new.epsilon >= old.epsilon or new.delta != old.delta:
            raise Fault("policy", "a lowering that lowers no epsilon")
        if not self._passes():
            raise Fault("limit", "the limit was lowered below what is committed and reserved (R5)")

    def _transfer(self, entry: Entry) -> None:
        if self.kind != "allocation":
            raise Fault("policy", "only allocations move a part of their limit to each other")
        old, new = self._moved(entry)
        amount = decimal(entry.facts.get("epsilon"), "1e-400", "1e4")
        moved = abs(Fraction(new.epsilon) - Fraction(old.epsilon))
        if new.delta != old.delta or moved != Fraction(amount):
            raise Fault("policy", "a transfer moves another amount than it says")
        if new.epsilon < old.epsilon and not self._passes():
            raise Fault("limit", "the limit was lowered below what is committed and reserved (R5)")
        self.book.transfers.setdefault(str(entry.facts.get("change_sha256")), []).append(
            (self, entry.seq, new.epsilon > old.epsilon, amount)
        )

    def _moved(self, entry: Entry) -> tuple[Policy, Policy]:
        """Put a new limit in force."""
        if self.state not in ("open", "frozen"):
            raise Fault("state", f"the limit of a budget that is {self.state} was moved")
        facts, old = entry.facts, self.policy
        new = read_policy(facts.get("policy"))
        if facts.get("from") != old.document["limit"] or facts.get("to") != new.document["limit"]:
            raise Fault("policy", "the entry names other limits than those that it moves between")
        new.check_moved(old)
        self.policy = new
        digest = matching(facts.get("change_sha256"), _SHA256, "the digest of a change")
        self.changes.append((entry.seq, entry.at, digest, facts))
        return old, new

    def _freeze(self, entry: Entry) -> None:
        self._require("open", "frozen")
        self._move_state("frozen", entry)

    def _thaw(self, entry: Entry) -> None:
        self._require("frozen", "thawed")
        if self.kind != "allocation":
            self._two_people(entry)
        if not self._passes():
            raise Fault("limit", "a budget was thawed that holds more than its limit")
        self._move_state("open", entry)

    def _close(self, entry: Entry) -> None:
        if self.state not in ("open", "frozen"):
            raise Fault("state", f"a budget that is {self.state} was closed")
        self._move_state("closed", entry)

    def _limit_rate(self, _entry: Entry) -> None:
        """A limit on the rate loses no privacy; who made it, and when, is on record."""
        if self.state not in ("open", "frozen"):
            raise Fault("state", f"the rate of a budget that is {self.state} was limited")

    def _publish(self, entry: Entry) -> None:
        """What others may read from here on loses nothing more; only what was posted is published.

        In any state: reading a release again asks for no room.
        """
        if self.kind != "lifetime":
            raise Fault("tree", "a publication stands in the lifetime root alone")
        job = matching(entry.facts.get("job"), _UUID, "the id of a job")
        if job not in self.released:
            raise Fault("state", "a result was published of which nothing was posted before")
        if job in self.published:
            raise Fault("state", "a result was published twice")
        self.published.add(job)

    def _purge(self, _entry: Entry) -> None:
        """What was released is deleted, and what it cost stays (R20)."""
        if self.kind != "lifetime":
            raise Fault("tree", "a purge stands in the lifetime root alone")
        if self.state != "closed":
            raise Fault("state", f"what a budget released that is {self.state} was purged")
        if self.is_purged:
            raise Fault("state", "what a budget released was purged twice")
        self.is_purged = True

    def _require(self, state: str, action: str) -> None:
        if self.state != state:
            raise Fault("state", f"a budget that is {self.state} was {action}")

    def _two_people(self, entry: Entry) -> None:
        """Two people, and what they approved takes effect once: one change, once a budget (R19).

        Spend on record is charged to many budgets, and a period moves with its window.
        """
        two_people(entry)
        approval = entry.facts["approval"]
        change = entry.kind, matching(entry.facts.get("change_sha256"), _SHA256, "a digest")
        known = self.book.approved.setdefault(approval, change)
        if self.kind != "period" and entry.kind != "opening":
            is_first = self.book.approved_for.setdefault(approval, self.id) == self.id
        else:
            is_first = True
        if known != change or not is_first or approval in self.approvals:
            raise Fault("people", "what two people approved once was done twice")
        self.approvals.add(approval)

    def _move_state(self, state: str, entry: Entry) -> None:
        self.state = state
        self.states.append((entry.at, state))

    def _charged(self, entry: Entry) -> tuple[Parts, Ranges | None]:
        """The parts of an entry, whose charge is the price of each times its units (R1)."""
        parts = self.book.parts(entry.parts)
        if parts.charge != entry.charge:
            raise Fault("charge", "the charge is not the price of its parts times their units")
        if parts.same not in self.used:
            self.book.require_relation(self.dataset, parts)
            self.used.add(parts.same)
        if ("blocks" in entry.facts) != (self.blocks is not None):
            raise Fault("charge", "a charge names blocks where there are none, or names none")
        if self.blocks is None:
            return parts, None
        ranges = read_ranges(entry.facts["blocks"])
        if entry.kind == "reserved":
            self.blocks.require_closed(ranges, moment(entry.at))
        elif entry.kind == "opening":
            self.blocks.require_begun(ranges, moment(entry.at))
        return parts, ranges

    def _add(self, amount: Amount, ranges: Ranges | None, *, is_asked: bool) -> None:
        values = self.held.values
        if ranges is None and len(values) == 1:
            values[0] += amount
            if is_asked and not self.policy.admits(values[0]):
                raise Fault("limit", self._over(0))
            return
        before: Amount | None = None
        for at in self.held.stretches(ranges):
            summed = values[at] + amount
            if is_asked and values[at] != before and not self.policy.admits(summed):
                raise Fault("limit", self._over(at))
            before = values[at]
            values[at] = summed

    def _over(self, at: int) -> str:
        limit = self.policy.document["limit"]
        where = "" if len(self.held.values) == 1 else f" in block {self.held.starts[at]}"
        return (
            f"the reservation does not pass the filter {self.policy.accountant} at "
            f"({limit['epsilon']}, {limit['delta']}) beside what was held{where}"
        )

    def _passes(self) -> bool:
        return all(self.policy.admits(each) for each in self.held.values)


def two_people(entry: Entry) -> None:
    """The entry names who asked and who decided, and they are not the same (R19)."""
    facts = entry.facts
    people = [facts.get("requested_by"), facts.get("decided_by")]
    named = (*people, facts.get("approval"))
    are_ids = all(isinstance(each, str) and _UUID.fullmatch(each) for each in named)
    if not are_ids or people[0] == people[1] or entry.actor != people[1]:
        raise Fault("people", f"an entry of kind {entry.kind} does not show two people")
    if "on_behalf_of" in facts:
        third = matching(facts["on_behalf_of"], _UUID, "the id of a person")
        if third in people:
            raise Fault("people", "somebody decided in the place of one of the two")


# by the entry that has to follow spend on record: what it means that it does not
NOT_DONE: Final[Mapping[str, tuple[str, str]]] = {
    "frozen": ("state", "earlier spend passed the limit, and the budget was not frozen"),
    "closed": ("plan", "what no slot names was put on record, and the plan was not closed by it"),
}
ZERO_TEXT: Final = charge_text(0)
MOVES: Final = frozenset({"reserved", "posted", "voided"})
CHARGING: Final = MOVES | {"opening"}
PARENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "lifetime": (),
    "allocation": ("lifetime", "allocation"),
    "window": ("lifetime", "allocation"),
    "period": ("window",),
}
STEPS: Final[Mapping[str, Callable[[Chain, Entry], None]]] = {
    "opened": Chain._open,  # noqa: SLF001 - the table of its own steps
    "reserved": Chain._reserve,  # noqa: SLF001
    "posted": Chain._resolve,  # noqa: SLF001
    "voided": Chain._resolve,  # noqa: SLF001
    "opening": Chain._put_on_record,  # noqa: SLF001
    "refreshed": Chain._refresh,  # noqa: SLF001
    "raised": Chain._raise,  # noqa: SLF001
    "lowered": Chain._lower,  # noqa: SLF001
    "transferred": Chain._transfer,  # noqa: SLF001
    "frozen": Chain._freeze,  # noqa: SLF001
    "thawed": Chain._thaw,  # noqa: SLF001
    "closed": Chain._close,  # noqa: SLF001
    "rate_limited": Chain._limit_rate,  # noqa: SLF001
    "published": Chain._publish,  # noqa: SLF001
    "purged": Chain._purge,  # noqa: SLF001
}


# --- the bundle --------------------------------------------------

_ENTRY: Final = b'{"entry":{"body":'
_CHECKPOINT: Final = b'{"checkpoint":{"body":'
_ENTRY_TAIL = re.compile(
    rb',"budget":"([0-9a-f-]{36})","hash":"([0-9a-f]{64})","seq":([1-9][0-9]{0,15})\}\}\n'
)
_ENTRY_TAIL_LENGTH: Final = len(',"budget":"","hash":"","seq":}}\n') + 36 + 64
# what nearly all entries look like, read without a parser: every group is canonical by its pattern,
# but for facts, parts and charge, which are looked at on their own
_BODY_HEAD = re.compile(
    r'\{"actor":"([ !#-\[\]-~]{0,200})","at":"([0-9]{4}[0-9TZ:.-]{23})","charge":'
)
_BODY_REST = re.compile(
    r',"facts":(\{\}|\{"blocks":[][0-9,]*\}),"id":"([0-9a-f-]{36})",'
    r'"job":(?:null|"([0-9a-f-]{36})"),"kind":"(reserved|posted|voided)",'
    r'"ledger":"([0-9a-f-]{36})","parts":(\[.*\]),"prev":"([0-9a-f]{64})",'
    r'"reservation":"([0-9a-f-]{36})","resolves":(?:null|"([0-9a-f-]{36})"),'
    r'"seq":([1-9][0-9]{0,15}),"v":1\}',
    re.DOTALL,
)
_NOTHING: Final[Mapping[str, Any]] = {}
_ENTRY_FIELDS: Final = (
    "v ledger seq prev at id kind actor reservation resolves job parts charge facts"
)
_CHECKPOINT_HEAD = re.compile(rb'\{"checkpoint":\{"body":(\{[^{}]*\{[^{}]*\}[^{}]*\}),"heads":\[')
_CHECKPOINT_TAIL = re.compile(rb'\],"signature":"([A-Za-z0-9+/]{86}==)"\}\}\n')
_TAIL_LENGTH: Final = len('],"signature":""}}\n') + 88
_HEAD = re.compile(rb'\["([0-9a-f-]{36})",([1-9][0-9]{0,15}),"([0-9a-f]{64})"\],?')
# what a hostile document raises where it is of another type than it should be
_MALFORMED: Final = (
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


class Book:
    """All budgets of a bundle, and what has to hold between them."""

    def __init__(self) -> None:
        self.prices: dict[str, Price] = {}
        self.chains: dict[str, Chain] = {}
        self.reservations: dict[str, list[Record]] = {}
        self.openings: dict[str, list[OnRecord]] = {}
        self.transfers: dict[str, list[tuple[Chain, int, bool, Decimal]]] = {}
        # by approval: the kind and the digest of what was approved, and the budget of a change
        self.approved: dict[str, tuple[str, str]] = {}
        self.approved_for: dict[str, str] = {}
        self.entries = 0
        self._relations: dict[str, str] = {}
        self._parts: dict[str, Parts] = {}
        self._shared: dict[Any, Any] = {}
        self._last: Chain | None = None
        self._paths: dict[frozenset[str], list[Chain]] = {}
        self._windows: dict[str, list[Chain]] = {}

    def price(self, raw: bytes) -> None:
        """One price of the table; they come in the order of their digests."""
        found = read_price_line(raw)
        if self.prices and found.digest <= next(reversed(self.prices)):
            raise Fault("form", "the prices are not in the order of their digests")
        self.prices[found.digest] = found

    def entry(self, line: bytes) -> bytes:
        """One entry, with everything that follows from its own chain; gives its hash as text."""
        chain = self._last
        if chain is not None:
            # nearly always it is the next one of the same chain, and its end is known but its hash
            seq = chain.seq + 1
            body = line[len(_ENTRY) : -_ENTRY_TAIL_LENGTH - len(str(seq))]
            digest = hashlib.sha256(ENTRY_TAG + body).digest()
            head = digest.hex()
            tail = f',"budget":"{chain.id}","hash":"{head}","seq":{seq}}}}}\n'
            if line.endswith(tail.encode()):
                self._follow(chain, body, digest, head)
                return head.encode()
        start = line.rfind(b',"budget":"', len(_ENTRY), len(line))
        found = _ENTRY_TAIL.fullmatch(line, start) if start > 0 else None
        if found is None:
            raise Fault("form", "a line is not an entry as an export writes it")
        budget, seq = found[1].decode(), int(found[3])
        if chain is None or chain.id != budget:
            if chain is not None:
                chain.end()
                if budget <= chain.id:
                    raise Fault("form", "the budgets are not in the order of their ids")
            chain = self._last = self.chains[budget] = Chain(self, budget)
        body = line[len(_ENTRY) : start]
        digest = hashlib.sha256(ENTRY_TAG + body).digest()
        if digest.hex().encode() != found[2]:
            raise Fault("hash", "the entry does not match its hash", budget=budget, seq=seq)
        if seq != chain.seq + 1:
            words = f"entry {chain.seq + 1} is missing, repeated or out of place"
            raise Fault("chain", words, budget=budget, seq=seq)
        self._follow(chain, body, digest, digest.hex())
        told: bytes = found[2]
        return told

    def _follow(self, chain: Chain, body: bytes, digest: bytes, head: str) -> None:
        """Take a body that matches its hash as the next entry of a chain."""
        seq = chain.seq + 1
        try:
            entry, prev = self._read(body)
            if entry.budget != chain.id or entry.seq != seq or prev != chain.head:
                chain.refuse(entry, prev)
            chain.walk(entry)
        except Fault as fault:
            fault.budget, fault.seq = chain.id, seq
            raise
        except _MALFORMED as error:
            raise Fault("form", "the entry is malformed", budget=chain.id, seq=seq) from error
        chain.head = head
        chain.hashes += digest
        self.entries += 1

    def _read(self, body: bytes) -> tuple[Entry, str]:
        text = body.decode() if body.isascii() else ""
        head = _BODY_HEAD.match(text)
        at = text.find(',"facts":', head.end()) if head is not None else -1
        rest = _BODY_REST.fullmatch(text, at) if at > 0 else None
        if head is None or rest is None:
            return self._read_any(body)
        facts, id_, job, kind, ledger, parts, prev, reservation, resolves, seq = rest.groups()
        time_ = head[2]
        if self._last is None or self._last.at != time_:
            moment(matching(time_, _TIME, "a time"))
        entry = Entry(
            ledger,
            int(seq),
            time_,
            id_,
            kind,
            head[1],
            reservation,
            resolves,
            job,
            parts,
            text[head.end() : at],
            _NOTHING if facts == "{}" else read_json(facts.encode()),
        )
        return entry, prev

    @staticmethod
    def _read_any(body: bytes) -> tuple[Entry, str]:
        fields = take(read_json(body), _ENTRY_FIELDS)
        if fields["v"] != 1 or type(fields["v"]) is not int:
            raise Fault("form", "an entry of a version that this verifier does not know")
        ids = {name: fields[name] for name in ("reservation", "resolves", "job")}
        for value in (*filter(None, ids.values()), fields["id"], fields["ledger"]):
            matching(value, _UUID, "an id")
        moment(matching(fields["at"], _TIME, "a time"))
        if not isinstance(fields["facts"], dict) or not isinstance(fields["actor"], str):
            raise Fault("form", "the facts of an entry are no object, or its actor no text")
        entry = Entry(
            fields["ledger"],
            whole(fields["seq"], 1, WHOLE_MOST),
            fields["at"],
            fields["id"],
            str(fields["kind"]),
            fields["actor"],
            fields["reservation"],
            fields["resolves"],
            fields["job"],
            dumps(fields["parts"]),
            dumps(fields["charge"]),
            fields["facts"],
        )
        return entry, matching(fields["prev"], _SHA256, "a hash")

    def parts(self, text: str) -> Parts:
        """Parts from their canonical text, with the charge that follows from them."""
        found = self._parts.get(text)
        if found is None:
            if len(self._parts) >= PARTS_KEPT:
                self._parts.clear()
            found = self._parts[text] = self._read_parts(text)
        return found

    def _read_parts(self, text: str) -> Parts:
        document = read_json(text.encode())
        if not isinstance(document, list) or not 1 <= len(document) <= PARTS_MOST:
            raise Fault("form", f"an entry that charges has 1 to {PARTS_MOST} parts")
        shape, units, loss = [], [], 0
        for each in document:
            part = dict(take(each, "mechanism price units", "slot stated"))
            price = self.prices.get(str(part.pop("price")))
            if price is None:
                raise Fault("price", "the entry names a price that the bundle does not hold")
            if dumps(part.pop("mechanism")) != price.mechanism:
                raise Fault("price", "the entry names the price of another mechanism")
            count = whole(part.pop("units"), 0, UNITS_MOST)
            if "stated" in part:
                said = take(part["stated"], "mechanism unit records")
                if said["unit"] != "record":
                    raise Fault("price", "a part was stated for a unit that has no rule (R7)")
                records = whole(said["records"], 1, RECORDS_MOST)
                require_group(said["mechanism"], json.loads(price.mechanism), records)
            slot = part.get("slot")
            shape.append(Part(price, None if slot is None else str(slot), dumps(part)))
            units.append(count)
            loss += price.charge(count)
        kept = tuple((each.price.digest, each.slot, each.rest) for each in shape)
        same = tuple(each.price.digest for each in shape)
        return Parts(
            self._shared.setdefault(kept, tuple(shape)),
            self._shared.setdefault(same, same),
            tuple(units),
            loss,
            charge_text(loss),
        )

    def require_relation(self, dataset: str, parts: Parts) -> None:
        """Every charge of a dataset is priced in one neighbouring relation (L8)."""
        for part in parts.shape:
            known = self._relations.setdefault(dataset, part.price.relation)
            if known != part.price.relation:
                raise Fault("price", "two charges of one dataset are priced in two relations")

    # --- what holds between budgets

    def close(self) -> None:
        """What no chain can show alone.

        Raises:
            Fault: named by an entry of one of the budgets that do not agree.
        """
        if self._last is not None:
            self._last.end()
        try:
            self._check_tree()
            for chain in self.chains.values():
                if chain.kind == "window":
                    self._check_window(chain)
            for records in self.reservations.values():
                self._check_reservation(records)
            self._check_openings()
            self._check_transfers()
        except _MALFORMED as error:
            raise Fault("form", "an entry that opens or moves a budget is malformed") from error

    def _check_tree(self) -> None:
        roots: set[str] = set()
        for chain in self.chains.values():
            if chain.parent is None and chain.dataset in roots:
                raise self._at(chain, 1, "tree", "a dataset has two lifetime roots")
            if chain.parent is None:
                roots.add(chain.dataset)
            elif chain.parent not in self.chains:
                raise self._at(chain, 1, "tree", "the budget above this one is not in the bundle")
        for chain in self.chains.values():
            if chain.parent is None:
                continue
            parent = self.chains[chain.parent]
            if parent.opened.get("partition") != chain.opened.get("partition"):
                raise self._at(chain, 1, "tree", "a budget of other blocks than the one above it")
            if isinstance(parent.policy, Plan):
                raise self._at(chain, 1, "tree", "nothing lies below a plan")
            closed = [since for since, state in parent.states if state == "closed"]
            opened_at = moment(chain.states[0][0])
            if chain.kind == "allocation" and closed and opened_at > moment(closed[0]) + SLACK:
                raise self._at(chain, 1, "state", "an allocation below a budget that was closed")
            if parent.dataset != chain.dataset or parent.kind not in PARENTS[chain.kind]:
                raise self._at(chain, 1, "tree", f"a {chain.kind} below a {parent.kind} is no tree")
            if chain.kind == "window":
                self._windows.setdefault(parent.id, []).append(chain)
            if chain.kind == "period" and chain.id not in parent.refreshed:
                raise self._at(chain, 1, "tree", "a period that its window did not open")
            self._path(chain)

    def _path(self, chain: Chain) -> list[Chain]:
        """A budget and those above it."""
        path = [chain]
        while path[-1].parent is not None:
            if len(path) > LEVELS_MOST:
                raise self._at(chain, 1, "tree", "a budget that has no root above it")
            path.append(self.chains[path[-1].parent])
        return path

    def _check_window(self, window: Chain) -> None:
        """Periods follow each other, begin with their window's limit and move with it (R9)."""
        before: Mapping[str, Any] | None = None
        periods: list[tuple[int, Chain, Mapping[str, Any]]] = []
        for period_id, (seq, _, facts, policy) in window.refreshed.items():
            period = self.chains.get(period_id)
            if period is None or period.parent != window.id:
                raise self._at(window, seq, "tree", "the period is not in the bundle")
            for name in ("starts_at", "ends_at"):
                moment(matching(facts.get(name), _TIME, "a time"))
                if period.opened.get(name) != facts[name]:
                    raise self._at(period, 1, "tree", "a period of other times than was opened")
            overlaps = before is not None and facts["starts_at"] < before["ends_at"]
            if overlaps or facts["starts_at"] >= facts["ends_at"]:
                raise self._at(window, seq, "tree", "two periods of a window overlap")
            assert window.calendar is not None  # noqa: S101 - read with its first entry
            if not window.calendar.holds(moment(facts["starts_at"]), moment(facts["ends_at"])):
                words = "a period that the calendar of its window does not have (R9)"
                raise self._at(window, seq, "tree", words)
            if period.opened["policy"] != policy:
                raise self._at(period, 1, "policy", "a period of another limit than its window")
            before = facts
            periods.append((seq, period, facts))
        moves = {digest: facts for _, _, digest, facts in window.changes}
        for _, period, _ in periods:
            for seq, _, digest, facts in period.changes:
                moved = moves.get(digest)
                if moved is None or any(facts[key] != moved[key] for key in ("from", "to")):
                    raise self._at(period, seq, "policy", "a period moved without its window")
        for seq, at, digest, _ in window.changes:
            in_force = [each for each in periods if each[0] < seq]
            if not in_force:
                continue
            _, period, facts = in_force[-1]
            is_over = moment(at) + SLACK >= moment(facts["ends_at"])
            if not is_over and digest not in {each[2] for each in period.changes}:
                raise self._at(window, seq, "policy", "the period in force did not move along")

    def _check_reservation(self, records: list[Record]) -> None:
        """Reserved and ended alike in every budget of its path, and in a period of each window."""
        plain: dict[str, Record] = {}
        periods: dict[str, list[Record]] = {}
        for record in records:
            if record.chain.kind == "period":
                periods.setdefault(str(record.chain.parent), []).append(record)
            elif record.chain.id in plain:
                raise self._of(record, "path", "a reservation is there twice in one budget")
            else:
                plain[record.chain.id] = record
        first = next(iter(plain.values()), None)
        if first is None:
            raise self._of(records[0], "path", "a reservation is held in a period alone")
        by_dataset: dict[str, Record] = {}
        for record in plain.values():
            other = by_dataset.setdefault(record.chain.dataset, record)
            if (record.same, record.ranges) != (first.same, other.ranges):
                raise self._of(record, "path", "a reservation is not the same in all its budgets")
            if (record.units, record.ended, record.posted) != (
                first.units,
                first.ended,
                first.posted,
            ):
                words = "a reservation was not held or ended alike in all its budgets"
                raise self._of(record, "path", words)
        for window in self._windows_of(plain):
            held = periods.pop(window.id, None)
            above = plain[str(window.parent)]
            if held is not None:
                self._check_periods(window, held, above)
            elif self._came_after(above, window):
                words = f"a reservation is in no period of the window {window.id}"
                raise self._of(above, "path", words)
        if periods:
            stray = next(iter(periods.values()))[0]
            raise self._of(stray, "path", "a reservation is in a period of a window off its path")

    @staticmethod
    def _came_after(record: Record, window: Chain) -> bool:
        """Whether a reservation was made when a window stood already, beyond doubt."""
        return moment(record.at) > moment(window.states[0][0]) + SLACK

    def _windows_of(self, plain: Mapping[str, Record]) -> list[Chain]:
        """The windows that limit some budgets; the budgets are one path in each dataset."""
        key = frozenset(plain)
        known = self._paths.get(key)
        if known is not None:
            return known
        leaves: dict[str, Chain] = {}
        above = {record.chain.parent for record in plain.values()}
        for record in plain.values():
            chain = record.chain
            if chain.parent is not None and chain.parent not in plain:
                words = f"a reservation is missing in the budget above, {chain.parent}"
                raise self._of(record, "path", words)
            if chain.id not in above and leaves.setdefault(chain.dataset, chain) is not chain:
                raise self._of(record, "path", "a reservation has two leaves in one dataset")
        found = [window for each in key for window in self._windows.get(each, ())]
        self._paths[key] = found
        return found

    def _check_periods(self, window: Chain, held: list[Record], whole_: Record) -> None:
        """Each period holds what the one before it had not started; all of it adds up (R9)."""
        held = sorted(held, key=lambda record: window.refreshed[record.chain.id][0])
        first, last = held[0], held[-1]
        if first.chain is not held[-1].chain and len({each.chain.id for each in held}) < len(held):
            raise self._of(first, "path", "a reservation is there twice in one period")
        left = first.units
        if left != whole_.units and self._came_after(whole_, window):
            raise self._of(first, "path", "a period holds fewer units than were reserved")
        posted = (0,) * len(left)
        for record in held:
            if (record.same, record.ranges) != (whole_.same, whole_.ranges):
                raise self._of(record, "path", "a reservation is not the same in all its budgets")
            if record.units != left or not all(map(operator.le, left, whole_.units)):
                words = "a period holds other units than the one before it had left"
                raise self._of(record, "path", words)
            if record is not last and record.ended is None:
                raise self._of(record, "path", "a reservation moved on and was not ended here")
            ended = record.posted or (0,) * len(left)
            left = tuple(map(operator.sub, left, ended))
            posted = tuple(map(operator.add, posted, ended))
            self._check_time(window, record)
        if last.ended != whole_.ended:
            raise self._of(last, "path", "a reservation was not ended alike in all its budgets")
        if whole_.ended is not None:
            before = map(operator.sub, whole_.units, first.units)
            total = tuple(map(operator.add, posted, before))
            # what was voided has started nothing, in no period either
            if total != whole_.posted:
                words = "the periods of a window do not add up to what was posted"
                raise self._of(last, "path", words)

    def _check_time(self, window: Chain, record: Record) -> None:
        """A period takes what starts in it, and a window that is not open lets nothing start."""
        at, facts = moment(record.at), window.refreshed[record.chain.id][2]
        if at + SLACK < moment(facts["starts_at"]):
            raise self._of(record, "time", "something was reserved in a period that had not begun")
        waits = window.opened["calendar"]["refresh_when"] == "new_data"
        if not waits and at > moment(facts["ends_at"]) + SLACK:
            raise self._of(record, "time", "something was reserved in a period that was over")
        for index, (since, state) in enumerate(window.states):
            after = window.states[index + 1][0] if index + 1 < len(window.states) else None
            is_over = after is not None and at + SLACK >= moment(after)
            if state != "open" and at > moment(since) + SLACK and not is_over:
                words = f"something was reserved while its window was {state}"
                raise self._of(record, "state", words)

    def _check_openings(self) -> None:
        """Spend on record stands in its budget and in all above it (L3).

        What was lost with a database names its root, and is charged to each budget that it was in:
        then a budget above holds at least as much as each below it.
        """
        for found in self.openings.values():
            first = found[0]
            here = {each.chain.id: each for each in found}
            named = self.chains.get(first.scope)
            is_whole = named is not None and (
                named.parent is None or len(here) == len(self._path(named))
            )
            if named is None or named.id not in here or len(here) < len(found) or not is_whole:
                words = "spend was put on record without the budget that it is about"
                raise self._at(first.chain, first.seq, "path", words)
            for each in found:
                path = [one for one in self._path(each.chain) if one.kind != "window"]
                missing = [one.id for one in path if one.id not in here]
                if missing or each.scope != named.id:
                    words = f"spend on record is missing in the budgets above: {missing[:1]}"
                    raise self._at(each.chain, each.seq, "path", words)
                above = here[path[1].id] if len(path) > 1 else each
                less = any(above.units.get(key, 0) < count for key, count in each.units.items())
                alike = (each.units, each.ranges) == (first.units, first.ranges)
                if less or (named.parent is not None and not alike):
                    words = "spend on record is not the same in the budgets above"
                    raise self._at(each.chain, each.seq, "path", words)

    def _check_transfers(self) -> None:
        """What one allocation gave, another one of the same parent got."""
        for found in self.transfers.values():
            chain, seq, is_raised, amount = found[0]
            pair = found[1:2]
            if len(found) != 2 or any(
                other.parent != chain.parent or was == is_raised or moved != amount
                for other, _, was, moved in pair
            ):
                raise self._at(chain, seq, "policy", "a transfer gave more than it took, or less")

    @staticmethod
    def _at(chain: Chain, seq: int, code: str, what: str) -> Fault:
        return Fault(code, what, budget=chain.id, seq=seq)

    @staticmethod
    def _of(record: Record, code: str, what: str) -> Fault:
        return Fault(code, what, budget=record.chain.id, seq=record.seq)


class Signatures:
    """The signed checkpoints: what the ledger's key says every chain held at a time (R23)."""

    def __init__(self, book: Book, trusted: bytes | None, seen: Mapping[int, str]) -> None:
        self.book = book
        self.trusted = trusted
        self.seen = dict(seen)
        self.signer: bytes | None = None
        self.announced: str | None = None
        self.fingerprint: str | None = None
        self.root: str | None = None
        self.seq = 0
        self.head = GENESIS
        self.at = ""
        self.heads: dict[str, int] = {}
        self.signed = 0

    def checkpoint(self, line: bytes) -> None:
        """One checkpoint, in order.

        Raises:
            Fault: it does not follow, does not match the chains, or the key did not sign it.
        """
        head = _CHECKPOINT_HEAD.match(line)
        tail = _CHECKPOINT_TAIL.fullmatch(line, max(0, len(line) - _TAIL_LENGTH))
        if head is None or tail is None:
            raise Fault("form", "a line is not a checkpoint as an export writes it")
        raw = head[1]
        body = take(read_json(raw), "v seq prev at heads key", "next_key previous_root")
        named = take(body["heads"], "count root")
        seq = whole(body["seq"], 1, WHOLE_MOST)
        where = f"checkpoint {seq}"
        if body["v"] != 1 or type(body["v"]) is not int:
            raise Fault("form", f"{where} is of a version that this verifier does not know")
        moment(matching(body["at"], _TIME, "a time"))
        if seq != self.seq + 1 or body["prev"] != self.head or body["at"] < self.at:
            raise Fault("signature", f"{where} does not follow the one before it")
        if body.get("previous_root", self.root) != self.root:
            raise Fault("signature", f"{where} names another root before it")
        tagged = CHECKPOINT_TAG + raw
        self._check_signer(where, body, tagged, base64.b64decode(tail[1]))
        self._check_heads(where, line, head.end(), tail.start(), named)
        self.seq, self.at, self.root = seq, body["at"], named["root"]
        self.head = hashlib.sha256(tagged).hexdigest()
        if self.seen.pop(seq, self.head) != self.head:
            raise Fault("signature", f"{where} is another one than the one that was seen before")

    def _check_signer(
        self, where: str, body: Mapping[str, Any], tagged: bytes, signature: bytes
    ) -> None:
        key = matching(body["key"], _SHA256, "the fingerprint of a key")
        if self.announced is not None and key != self.announced:
            raise Fault("signature", f"{where} is by a key that the one before it did not name")
        self.announced = key
        if self.signer is None and self.trusted is not None and key == _fingerprint(self.trusted):
            self.signer = self.trusted
        if self.signer is not None:
            try:
                Ed25519PublicKey.from_public_bytes(self.signer).verify(signature, tagged)
            except InvalidSignature:
                raise Fault(
                    "signature", f"the signature of {where} is not that of its key"
                ) from None
            self.signed += 1
        if "next_key" in body:
            try:
                following = base64.b64decode(str(body["next_key"]), validate=True)
            except (binascii.Error, ValueError) as error:
                raise Fault("form", f"{where} names a next key that is none") from error
            if len(following) != 32:
                raise Fault("form", f"{where} names a next key that is none")
            self.announced = _fingerprint(following)
            self.signer = following if self.signer is not None else None

    def _check_heads(
        self, where: str, line: bytes, start: int, end: int, named: Mapping[str, Any]
    ) -> None:
        """The heads hash to the signed root, and every chain passes through its head."""
        text = line[start - 1 : end + 1]
        if hashlib.sha256(HEADS_TAG + text).hexdigest() != named["root"]:
            raise Fault("signature", f"the heads of {where} are not those of its root")
        heads: dict[str, int] = {}
        at, before = start, ""
        while at < end:
            match = _HEAD.match(line, at, end)
            if match is None:
                raise Fault("form", f"{where} has a head that is none")
            budget, seq, told = match[1].decode(), int(match[2]), match[3].decode()
            at = match.end()
            chain = self.book.chains.get(budget)
            if budget <= before:
                raise Fault("form", f"the heads of {where} are not in the order of their budgets")
            if chain is None or chain.seq < seq:
                seq_is = 0 if chain is None else chain.seq
                words = f"{where} saw entry {seq} of this budget, and the bundle ends before it"
                raise Fault("signature", words, budget=budget, seq=seq_is + 1)
            if chain.hashes[32 * seq - 32 : 32 * seq].hex() != told:
                words = f"the entry is not the one that {where} has signed"
                raise Fault("signature", words, budget=budget, seq=seq)
            if seq < self.heads.get(budget, 0):
                raise Fault("signature", f"{where} goes back behind an older one", budget=budget)
            heads[budget] = seq
            before = budget
        if len(heads) != named["count"] or not self.heads.keys() <= heads.keys():
            raise Fault("signature", f"{where} does not name the heads of all budgets")
        self.heads = heads

    def close(self, *, may_have_tail: bool) -> int:
        """Whether the key that is trusted has signed the end; gives the entries beyond it.

        Raises:
            Fault: nothing is signed by that key, or entries stand beyond the last checkpoint.
        """
        if self.seen:
            raise Fault("signature", f"checkpoint {min(self.seen)}, seen before, is not there")
        if self.trusted is not None and self.signer is None:
            words = "no checkpoint of this bundle is by the key that is trusted"
            if self.announced == _fingerprint(self.trusted):
                words = "the key that is trusted was named last and has signed nothing yet"
            raise Fault("signature", words)
        beyond = 0
        for chain in self.book.chains.values():
            signed = self.heads.get(chain.id, 0)
            if signed < chain.seq and not may_have_tail and self.trusted is not None:
                words = "entries from here on stand behind the last signed checkpoint"
                raise Fault("signature", words, budget=chain.id, seq=signed + 1)
            beyond += chain.seq - signed
        return beyond


def _fingerprint(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked, and the first thing that is wrong if anything is.

    beyond: entries that no checkpoint covers. signed: checkpoints whose signature was checked.
    last: sequence number, hash and time of the last checkpoint: keep it for the next bundle.
    """

    fault: Fault | None
    budgets: int
    entries: int
    prices: int
    reservations: int
    checkpoints: int
    signed: int
    beyond: int
    last: tuple[int, str, str]
    is_unsigned: bool
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """For machines; `verified` is the verdict."""
        return {
            "verified": self.fault is None,
            "fault": None if self.fault is None else self.fault.to_json(),
            "checked": {
                "budgets": self.budgets,
                "entries": self.entries,
                "prices": self.prices,
                "reservations": self.reservations,
                "checkpoints": self.checkpoints,
                "signatures": self.signed,
            },
            "entries_beyond_the_last_checkpoint": self.beyond,
            "last_checkpoint": {
                "seq": self.last[0],
                "hash": self.last[1],
                "at": self.last[2] or None,
            },
            "signatures_asked_for": not self.is_unsigned,
            "not_checked": list(NOT_CHECKED),
            "seconds": round(self.seconds, 3),
        }

    def in_words(self) -> str:
        """For people."""
        lines = []
        if self.fault is not None:
            where = "The bundle"
            if self.fault.budget is not None:
                at = "" if self.fault.seq is None else f", entry {self.fault.seq}"
                where = f"Budget {self.fault.budget}{at}"
            lines += [
                "WRONG. The first thing that does not hold:",
                f"  {where}: {self.fault.what}.",
                f"  What it means: {MEANINGS[self.fault.code]}",
                f"Up to there {self.entries} entries of {self.budgets} budgets were read.",
            ]
            return "\n".join(lines) + "\n"
        lines += [
            "Nothing was found wrong.",
            "Checked:",
            f"  {self.entries} entries of {self.budgets} budgets: form, hashes, order, states,",
            "    and that each charge is the price of its parts times their units",
            f"  {self.prices} prices: their digests, and their values from the mechanisms",
            f"  {self.reservations} reservations: admitted by the filter of every budget of their",
            "    path, held and ended alike in all of them and in their windows",
            "  every change of a limit or a state by its rule, and two people where it takes two",
            f"  {self.checkpoints} checkpoints, {self.signed} of them signed by the trusted key",
        ]
        if self.is_unsigned:
            lines.append("  NO SIGNATURE: without a key anybody may have written all of this.")
        elif self.beyond:
            lines.append(f"  {self.beyond} entries come after the last checkpoint: NOT signed.")
        if self.checkpoints:
            lines.append(f"Keep for the next bundle: --seen {self.last[0]}:{self.last[1]}")
        lines += ["Not checked:", *(f"  {each}" for each in NOT_CHECKED)]
        return "\n".join(lines) + "\n"


def verify(
    bundle: BinaryIO,
    public_key: bytes | None,
    *,
    seen: Mapping[int, str] | None = None,
    may_have_tail: bool = False,
    on_progress: Callable[[int], object] | None = None,
) -> Report:
    """Check a bundle from its first line to its last; stops at the first thing that is wrong.

    Args:
        bundle: lines as an export writes them.
        public_key: 32 raw bytes of the Ed25519 key that is trusted; None checks no signature.
        seen: hashes of checkpoints that were seen before, by their numbers: none may be missing.
        may_have_tail: whether entries behind the last checkpoint are let pass, and counted.
        on_progress: told now and then how many entries were read.
    """
    started = time.monotonic()
    book = Book()
    signatures = Signatures(book, public_key, seen or {})
    fault, beyond = None, 0
    try:
        _read_lines(bundle, book, signatures, on_progress)
        book.close()
        beyond = signatures.close(may_have_tail=may_have_tail)
    except Fault as found:
        fault = found
    return Report(
        fault,
        len(book.chains),
        book.entries,
        len(book.prices),
        len(book.reservations),
        signatures.seq,
        signatures.signed,
        beyond,
        (signatures.seq, signatures.head, signatures.at),
        public_key is None,
        time.monotonic() - started,
    )


def _read_lines(
    bundle: BinaryIO,
    book: Book,
    signatures: Signatures,
    on_progress: Callable[[int], object] | None,
) -> None:
    """Header, prices, entries, checkpoints, end: in this order."""
    written = hashlib.sha256()
    counts: Mapping[str, Any] = {}
    number, stage = 0, 0
    told = time.monotonic()
    while True:
        line = bundle.readline(LINE_MOST)
        if not line:
            raise Fault("end", f"the bundle was cut: its last line is missing (after {number})")
        if line[-1:] != b"\n" and line.startswith(_CHECKPOINT):
            line += bundle.readline(CHECKPOINT_LINE_MOST)
        if line[-1:] != b"\n":
            raise Fault("form", f"line {number + 1} is too long, or has no end")
        number += 1
        if line.startswith(_ENTRY):
            stage = _in_order(stage, 2, number)
            # the hash stands for the line: it covers the body, and the rest was compared with it
            written.update(book.entry(line))
            is_due = not number % PROGRESS_LINES
            is_due = is_due and time.monotonic() - told > PROGRESS_S
            if on_progress is not None and is_due:
                told = time.monotonic()
                on_progress(book.entries)
            continue
        try:
            if line.startswith(b'{"end":'):
                _check_end(line, book, signatures, counts, written.hexdigest(), number)
                if bundle.read(1):
                    raise Fault("end", "lines stand behind the last one")
                return
            if line.startswith(_CHECKPOINT):
                stage = _in_order(stage, 3, number)
                signatures.checkpoint(line)
            elif line.startswith(b'{"price":'):
                stage = _in_order(stage, 1, number)
                book.price(line[:-1])
            else:
                _in_order(stage, 0, number)
                if number > 1:
                    raise Fault("form", f"line {number} is of no kind that an export writes")
                counts = _read_header(line[:-1])
        except _MALFORMED as error:
            raise Fault("form", f"line {number} is malformed") from error
        written.update(line)


def _in_order(stage: int, wanted: int, number: int) -> int:
    if wanted < stage or (number == 1) != (wanted == 0):
        raise Fault("form", f"line {number} is not where an export writes it")
    return wanted


def _read_header(raw: bytes) -> Mapping[str, Any]:
    header = take(read_json(raw), "v kind made_at counts")
    if header["kind"] != BUNDLE_KIND or header["v"] != 1 or type(header["v"]) is not int:
        raise Fault("form", "this is no bundle of a version that this verifier knows")
    moment(matching(header["made_at"], _TIME, "a time"))
    return take(header["counts"], "budgets checkpoints entries prices")


def _check_end(
    line: bytes,
    book: Book,
    signatures: Signatures,
    counts: Mapping[str, Any],
    written: str,
    number: int,
) -> None:
    end = take(take(read_json(line[:-1]), "end")["end"], "lines sha256")
    found = {
        "budgets": len(book.chains),
        "checkpoints": signatures.seq,
        "entries": book.entries,
        "prices": len(book.prices),
    }
    if end["lines"] != number or dict(counts) != found:
        raise Fault("end", "the bundle holds another number of lines than it says")
    if end["sha256"] != written:
        raise Fault("end", "lines of the bundle were changed after it was written")


# --- the command -------------------------------------------------


def read_public_key(path: Path) -> bytes:
    """The 32 bytes of an Ed25519 key from a file: PEM, or raw, hexadecimal or base64.

    Raises:
        Unreadable: no such file, or no such key in it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(2**16)
    except OSError as error:
        raise Unreadable(f"the key {path} cannot be read: {error.strerror}") from error
    text = content.strip()
    key = content if len(content) == 32 else b""
    try:
        if text.startswith(b"-----BEGIN"):
            loaded = load_pem_public_key(text)
            if isinstance(loaded, Ed25519PublicKey):
                key = loaded.public_bytes(Encoding.Raw, PublicFormat.Raw)
        elif re.fullmatch(rb"[0-9a-fA-F]{64}", text):
            key = bytes.fromhex(text.decode())
        elif len(text) == 44:
            key = base64.b64decode(text, validate=True)
        Ed25519PublicKey.from_public_bytes(key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unreadable(f"{path} holds no Ed25519 public key") from error
    return key


def _seen(text: str) -> tuple[int, str]:
    seq, _, digest = text.partition(":")
    if not seq.isdecimal() or _SHA256.fullmatch(digest) is None:
        raise argparse.ArgumentTypeError("SEQ:HASH as an earlier run printed it")
    return int(seq), digest


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    found = argparse.ArgumentParser(
        prog="verify", description="Check an exported ledger without the service that wrote it."
    )
    found.add_argument("bundle", type=Path, help="file that an export wrote")
    key = found.add_mutually_exclusive_group(required=True)
    key.add_argument("--public-key", type=Path, help="file with the key that you trust")
    key.add_argument("--unsigned", action="store_true", help="check no signature")
    found.add_argument(
        "--seen", type=_seen, action="append", default=[], help="checkpoint that must be there"
    )
    found.add_argument(
        "--allow-tail", action="store_true", help="let entries behind the last checkpoint pass"
    )
    found.add_argument("--json", action="store_true", help="answer for machines")
    found.add_argument("--quiet", action="store_true", help="no word about progress")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit code."""
    asked = parser().parse_args(arguments)

    def tell(entries: int) -> None:
        sys.stderr.write(f"{entries} entries read\n")

    # millions of records, and no cycles among what is let go: looking for them costs a fifth
    gc.disable()
    try:
        key = None if asked.unsigned else read_public_key(asked.public_key)
        with asked.bundle.open("rb", buffering=2**20) as bundle:
            report = verify(
                bundle,
                key,
                seen=dict(asked.seen),
                may_have_tail=asked.allow_tail,
                on_progress=None if asked.quiet or asked.json else tell,
            )
    except (Unreadable, OSError) as error:
        sys.stderr.write(f"verify: {error}\n")
        return 2
    text = json.dumps(report.to_json(), indent=2) + "\n" if asked.json else report.in_words()
    sys.stdout.write(text)
    return 0 if report.fault is None else 1


if __name__ == "__main__":
    raise SystemExit(main())
