"""The sample's house with a signed checkpoint: an honest bundle and an honest report of it."""

import base64
import json
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from random import Random
from typing import Any

from app.domain.attestations import signed_bytes as attested_bytes
from app.domain.checkpoints import Head, checkpoint_body, checkpoint_hash, heads_json, signed_bytes
from app.domain.ledger import GENESIS_HASH, canonical_bytes, time_text
from app.reporting.evidence import Evidence
from app.reporting.report import build, signed
from app.reporting.verification import verify_report
from tests.reporting.evidence_sample import AS_OF, QUERIES, RUNS, House, an_id, built_house
from tests.tampering import KEY, Bundle, raw_public

FINGERPRINT = sha256(raw_public(KEY)).hexdigest()


@dataclass(frozen=True)
class Honest:
    """A bundle, the evidence that it agrees with, and the signed report of that evidence."""

    bundle: bytes
    evidence: Evidence
    report: bytes


def sign(message: bytes) -> str:
    """By the ledger's key."""
    return base64.b64encode(KEY.sign(message)).decode()


@cache
def honest(blocks: int | None = None) -> Honest:
    """The sample's house, exported and reported."""
    house = built_house(blocks=blocks)
    return of(house)


def of(house: House) -> Honest:
    """Any house, at one checkpoint over all of it."""
    heads = [
        Head(an_id(name), len(scope.entries), scope.head) for name, scope in house.scopes.items()
    ]
    body = checkpoint_body(
        seq=1, previous_hash=GENESIS_HASH, at=AS_OF, heads=heads, key_sha256=FINGERPRINT
    )
    document = {
        "body": json.loads(body),
        "heads": heads_json(heads),
        "signature": sign(signed_bytes(body)),
    }
    bundle = Bundle(
        {"v": 1, "kind": "epsilon-ledger/bundle", "made_at": time_text(AS_OF)},
        [price.to_json() for price in house.prices.values()],
        {
            an_id(name): [json.loads(entry.body) for entry in scope.entries]
            for name, scope in house.scopes.items()
        },
        [document],
    )
    evidence = house.evidence()
    evidence["ledger"] |= {
        "checkpoint_seq": 1,
        "checkpoint_hash": checkpoint_hash(body),
        "public_key_fingerprint": FINGERPRINT,
    }
    for each in evidence["attestations"]:
        message = attested_bytes(evidence["dataset"]["id"], each)
        each["signature"], each["signed_by"] = sign(message), FINGERPRINT
    report = canonical_bytes(signed(build(evidence), sign, FINGERPRINT))
    return Honest(bundle.write("hashed"), evidence, report)


def any_house(draw: Random) -> Honest:
    """A house in which some of the runs were made, some of them often, by the turn of a seed."""
    blocks = draw.choice([None, None, 2, 7])
    runs = [draw.choice(RUNS if blocks is None else QUERIES) for _ in range(draw.randint(0, 8))]
    named = [f"{run} no {number}" for number, run in enumerate(runs)]
    is_windowed = draw.random() < 0.5
    return of(built_house(tuple(named), with_window=is_windowed, blocks=blocks))


def change_a_leaf(document: Any, draw: Random) -> str:
    """Change one value of a document, and give its pointer."""
    holder, key, pointer = draw.choice(_leaves(document, ""))
    old = holder[key]
    if isinstance(old, bool):
        holder[key] = not old
    elif isinstance(old, int):
        holder[key] = old + draw.choice((-1, 1))
    elif isinstance(old, str) and old:
        at = draw.randrange(len(old))
        other = draw.choice([sign for sign in "0123456789abcdef-. " if sign != old[at]])
        holder[key] = old[:at] + other + old[at + 1 :]
    elif isinstance(old, list):
        holder[key] = ["x"]
    elif isinstance(old, dict):
        holder[key] = {"x": "x"}
    else:
        holder[key] = "x"
    return pointer


def _leaves(value: Any, pointer: str) -> list[tuple[Any, Any, str]]:
    """Every value that holds no other, with what holds it."""
    found: list[tuple[Any, Any, str]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in items:
        at = f"{pointer}/{key}"
        if isinstance(each, dict | list) and each:
            found += _leaves(each, at)
        else:
            found.append((value, key, at))
    return found


def missed_edits(of: Honest, public_key: bytes, count: int, *, seed: int) -> list[str]:
    """The places of edits that were not found, of a report and of its bundle in turn."""
    draw, lines = Random(seed), of.bundle.splitlines()
    missed = []
    for number in range(count):
        report, bundle = of.report, of.bundle
        if number % 2:
            document = json.loads(report)
            where = change_a_leaf(document, draw)
            report = canonical_bytes(document)
        else:
            place = draw.randrange(len(lines))
            document = json.loads(lines[place])
            where = f"line {place}: {change_a_leaf(document, draw)}"
            edited = [*lines[:place], canonical_bytes(document), *lines[place + 1 :]]
            bundle = b"".join(line + b"\n" for line in edited)
        if verify_report(report, bundle, public_key).difference is None:
            missed.append(where)
    return missed
