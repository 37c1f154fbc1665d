"""Checks a report against an exported ledger, without the service that made either (R23).

The bundle is replayed by the verifier that stands alone; then every ledger fact of the report's
evidence is read from the bundle's own entries and compared; then the whole report is built again
from that evidence and compared value by value. What no ledger can know (specs, attestations, what
the service says of itself) is covered by the signature, which comes last and says the least: the
first thing that differs has been named before it wherever it can be.
"""

import base64
import binascii
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from app import verifier
from app.domain.attestations import signed_bytes as attested_bytes
from app.domain.errors import DomainError
from app.domain.ledger import canonical_bytes
from app.reporting.differences import MISSING, Difference, Walk
from app.reporting.evidence import Evidence
from app.reporting.exported import Exported, ExportedCheckpoint, read_exported
from app.reporting.ledger_facts import approval_facts, budget_facts, reservation_facts
from app.reporting.report import SCHEMA_VERSION, build, signing_bytes

OPEN: Final = ("reserved", "touched")
# a budget's facts that evidence names only where there are any: else none may be there
NONE_OF_THEM: Final = {"publications": MISSING, "break_glass": MISSING}
# in the report these come from hashes of all the rest, so they are compared after it
HASHED: Final = ("report_id", "integrity")
SIGNED: Final = ("signature", "signed_by")
MALFORMED: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
NOT_CHECKED: Final = (
    "that what people attest is so",
    "that the specs, results and settings in the evidence are those of the service: no ledger"
    " holds them, and the signature alone stands for them",
    "what happened after the checkpoint that the report stands on",
)


class Unreadable(Exception):
    """The report cannot be read at all."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was checked, and the first thing that differs if anything does.

    bundle: what the verifier says of the ledger by itself.
    facts: values of the evidence that were compared with the ledger's entries.
    values: values of the report that were computed again.
    """

    difference: Difference | None
    bundle: verifier.Report
    facts: int
    values: int
    criteria: int

    def to_json(self) -> dict[str, Any]:
        """For machines; `verified` is the verdict."""
        return {
            "verified": self.difference is None,
            "difference": None if self.difference is None else self.difference.to_json(),
            "checked": {
                "ledger_facts": self.facts,
                "values": self.values,
                "criteria": self.criteria,
                "entries": self.bundle.entries,
            },
            "bundle": self.bundle.to_json(),
            "not_checked": list(NOT_CHECKED),
        }

    def in_words(self) -> str:
        """For people."""
        if self.difference is not None:
            return self.difference.in_words()
        lines = [
            "Nothing was found to differ.",
            "Checked:",
            f"  {self.bundle.entries} entries of the ledger, replayed from the bundle",
            f"  {self.facts} facts of the evidence, against these entries",
            f"  {self.values} values of the report, computed again from the evidence,",
            f"    {self.criteria} criteria among them",
            "  the signature over all of it, by the key that was given or one that it has named",
            "Not checked:",
            *(f"  {each}" for each in NOT_CHECKED),
        ]
        return "\n".join(lines) + "\n"


def verify_report(report: bytes, bundle: bytes, public_key: bytes) -> Checked:
    """Check a report against a bundle; stops at the first thing that differs.

    Args:
        report: the JSON form, as it was downloaded.
        bundle: the lines of an export that is as new as the report, or newer.
        public_key: 32 raw bytes of the key that is trusted; one inside a file proves nothing.

    Raises:
        Unreadable: the report is no JSON object.
    """
    document = _read(report)
    facts, values = Walk(), Walk()
    found = verifier.verify(io.BytesIO(bundle), public_key)
    difference = _of_bundle(found.fault) or _form(document, report)
    if difference is None:
        try:
            difference = _compared(document, bundle, public_key, facts, values)
        except (DomainError, *MALFORMED) as error:
            said = f"something that nothing can be computed from ({type(error).__name__})"
            difference = Difference("/evidence", "evidence as a service gathers it", said)
    listed = document.get("criteria")
    criteria = len(listed) if isinstance(listed, list) else 0
    return Checked(difference, found, facts.values, values.values, criteria)


def _compared(
    document: Mapping[str, Any], bundle: bytes, public_key: bytes, facts: Walk, values: Walk
) -> Difference | None:
    """The comparisons in their order, each only where those before it found nothing."""
    evidence = document["evidence"]
    exported = read_exported(bundle, public_key, evidence["dataset"]["id"])
    return (
        _ledger_facts(evidence, exported, facts)
        or _built_again(document, values)
        or _attestations(evidence, exported)
        or _signature(document, exported)
    )


def _read(report: bytes) -> dict[str, Any]:
    try:
        document = json.loads(report.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Unreadable("the report is no JSON document") from error
    if not isinstance(document, dict):
        raise Unreadable("the report is no JSON object")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _form(document: Mapping[str, Any], report: bytes) -> Difference | None:
    """Whether it is a report of this version, in canonical form."""
    version = document.get("schema_version", MISSING)
    if version != SCHEMA_VERSION:
        return Difference("/schema_version", SCHEMA_VERSION, version)
    for key in ("evidence", "integrity"):
        if not isinstance(document.get(key), dict):
            return Difference(f"/{key}", "an object", document.get(key, MISSING))
    try:
        is_canonical = canonical_bytes(document) == report.strip()
    except ValueError:
        is_canonical = False
    return None if is_canonical else Difference("", "canonical JSON (RFC 8785)", "another form")


def _of_bundle(fault: verifier.Fault | None) -> Difference | None:
    """What the verifier found, where a ledger has no pointer."""
    if fault is None:
        return None
    where = "the bundle"
    if fault.budget is not None:
        where += f", budget {fault.budget}"
    if fault.seq is not None:
        where += f", entry {fault.seq}"
    return Difference(where, "a ledger that follows, signed by the key that was given", fault.what)


def _ledger_facts(evidence: Mapping[str, Any], exported: Exported, walk: Walk) -> Difference | None:
    """Every fact of the evidence that the ledger holds, against the bundle's own entries."""
    named = evidence["ledger"]["checkpoint_seq"]
    checkpoint = exported.checkpoints.get(named)
    if checkpoint is None:
        wanted = f"one of the {len(exported.checkpoints)} checkpoints of the bundle"
        return Difference("/evidence/ledger/checkpoint_seq", wanted, named)
    chains = exported.chains_at(checkpoint)
    facts = reservation_facts(chains, exported.kinds)
    budgets = {id_: {**NONE_OF_THEM, **budget_facts(id_, chain)} for id_, chain in chains.items()}
    prices = {
        part["price"]: exported.prices.get(part["price"], MISSING)
        for each in facts.values()
        for part in each["parts"]
    }
    return (
        _ledger(evidence, checkpoint, budgets, walk)
        or _all_named(budgets, evidence["budgets"], "/evidence/budgets", walk)
        or _reservations(facts, evidence["reservations"], walk)
        or _approvals(approval_facts(chains), evidence["approvals"], walk)
        or walk.whole(prices, evidence["prices"], "/evidence/prices")
    )


def _ledger(
    evidence: Mapping[str, Any],
    checkpoint: ExportedCheckpoint,
    budgets: Mapping[str, Mapping[str, Any]],
    walk: Walk,
) -> Difference | None:
    """The checkpoint, and where each chain stood at it."""
    expected = {
        "checkpoint_hash": checkpoint.hash,
        "checkpoint_at": checkpoint.at,
        "public_key_fingerprint": checkpoint.key,
        "entries": sum(each["entries"] for each in budgets.values()),
        "faults": [],
    }
    heads = {
        id_: {"budget": id_, "entries": each["entries"], "head_hash": each["head_hash"]}
        for id_, each in budgets.items()
    }
    return (
        walk.whole(checkpoint.at, evidence["as_of"], "/evidence/as_of")
        or walk.facts(expected, evidence["ledger"], "/evidence/ledger")
        or _all_named(
            heads, evidence["ledger"]["chains"], "/evidence/ledger/chains", walk, key="budget"
        )
    )


def _reservations(
    facts: Mapping[str, Mapping[str, Any]], listed: Any, walk: Walk
) -> Difference | None:
    """Parts, entries, job and end of each reservation; what is open may have been touched."""
    expected: dict[str, dict[str, Any]] = {id_: {} for id_ in facts}
    for index, each in enumerate(listed):
        said = facts.get(each["id"])
        if said is None:
            continue
        difference = _parts(_expected_parts(said, each), each["parts"], index, walk)
        if difference is not None:
            return difference
        state = said["state"]
        if state is None:
            state = each["state"] if each["state"] in OPEN else OPEN[0]
        rows = {(row["budget"], row["seq"]): row for row in said["entries"]}
        order = [(row["budget"], row["seq"]) for row in each["entries"]]
        # in the order in which the evidence has them; what it leaves out comes after
        entries = [rows.pop(place) for place in order if place in rows] + list(rows.values())
        expected[each["id"]] = {"job": said["job"], "state": state, "entries": entries}
    return _all_named(expected, listed, "/evidence/reservations", walk)


def _expected_parts(said: Mapping[str, Any], each: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was reserved, and what was started of it where the ledger says so.

    An outside tool that nobody vouches for is charged in full, whatever it has started (R15).
    """
    posted = said["posted"]
    if posted is None or each["is_outside"]:
        return [dict(part) for part in said["parts"]]
    return [
        {**part, "started_units": count} for part, count in zip(said["parts"], posted, strict=True)
    ]


def _parts(
    expected: list[dict[str, Any]], found: Any, reservation: int, walk: Walk
) -> Difference | None:
    at = f"/evidence/reservations/{reservation}/parts"
    if not isinstance(found, list) or len(found) != len(expected):
        return Difference(at, f"{len(expected)} parts", found)
    for index, part in enumerate(expected):
        difference = walk.facts(part, found[index], f"{at}/{index}")
        if difference is not None:
            return difference
    return None


def _approvals(
    expected: Mapping[str, Mapping[str, Any]], listed: Any, walk: Walk
) -> Difference | None:
    """The two people of each approval that an entry names; one that had no effect has no entry."""
    for index, each in enumerate(listed):
        at = f"/evidence/approvals/{index}"
        said = expected.get(each["id"])
        # decided for somebody else only where the entry says so
        named = {} if said is None else {"on_behalf_of": MISSING, **said}
        difference = walk.facts(named, each, at)
        if difference is not None:
            return difference
    left = sorted(set(expected) - {each["id"] for each in listed})
    return Difference(f"/evidence/approvals/{len(listed)}", left[0], MISSING) if left else None


def _all_named(
    expected: Mapping[str, Mapping[str, Any]],
    listed: Any,
    pointer: str,
    walk: Walk,
    *,
    key: str = "id",
) -> Difference | None:
    """Each listed record against the facts of its id, in the list's order; none more, none less.

    A budget that was proposed and never opened has no chain, and is let be.
    """
    seen = set()
    for index, each in enumerate(listed):
        at = f"{pointer}/{index}"
        if each[key] not in expected or each[key] in seen:
            if each.get("entries") == 0 and each[key] not in seen:
                continue
            return Difference(f"{at}/{key}", "one that the ledger names, once", each[key])
        seen.add(each[key])
        difference = walk.facts(expected[each[key]], each, at)
        if difference is not None:
            return difference
    left = next((id_ for id_ in expected if id_ not in seen), None)
    return None if left is None else Difference(f"{pointer}/{len(listed)}", left, MISSING)


def _built_again(document: Mapping[str, Any], walk: Walk) -> Difference | None:
    """The whole report from its own evidence: figures, statements, criteria, hashes."""
    again = build(cast(Evidence, document["evidence"]))
    sections = {key: value for key, value in again.items() if key not in (*HASHED, "evidence")}
    hashes = {key: value for key, value in again["integrity"].items() if key not in SIGNED}
    difference = (
        walk.facts(sections, document, "")
        or walk.facts({"report_id": again["report_id"]}, document, "")
        or walk.facts(hashes, document["integrity"], "/integrity")
    )
    known = {*again, *HASHED}
    more = next((key for key in document if key not in known), None)
    if difference is None and more is not None:
        return Difference(f"/{more}", MISSING, document[more])
    inside = next((key for key in document["integrity"] if key not in again["integrity"]), None)
    if difference is None and inside is not None and inside not in SIGNED:
        return Difference(f"/integrity/{inside}", MISSING, document["integrity"][inside])
    return difference


def _attestations(evidence: Mapping[str, Any], exported: Exported) -> Difference | None:
    """Whether the ledger's key has signed each sentence as it stands here.

    One that was signed before the key that was given began is covered by the report's signature.
    """
    for index, each in enumerate(evidence["attestations"]):
        key = exported.keys.get(each["signed_by"])
        message = attested_bytes(evidence["dataset"]["id"], each)
        if key is not None and not _is_signed(message, each["signature"], key):
            at = f"/evidence/attestations/{index}/signature"
            return Difference(at, "a signature over this very sentence", each["signature"])
    return None


def _signature(document: Mapping[str, Any], exported: Exported) -> Difference | None:
    """Whether a key that is trusted has signed exactly this."""
    integrity = document["integrity"]
    signer = integrity.get("signed_by", MISSING)
    if not isinstance(signer, str) or signer not in exported.keys:
        wanted = "the key that was given, or one that it has named"
        return Difference("/integrity/signed_by", wanted, signer)
    found = integrity.get("signature", MISSING)
    if not _is_signed(signing_bytes(document), found, exported.keys[signer]):
        return Difference("/integrity/signature", "a signature over this very report", found)
    return None


def _is_signed(message: bytes, text: Any, raw_key: bytes) -> bool:
    """Whether a base64 signature is this key's; every digit of its text counts."""
    try:
        signature = base64.b64decode(text, validate=True)
        Ed25519PublicKey.from_public_bytes(raw_key).verify(signature, message)
    except (InvalidSignature, binascii.Error, TypeError, ValueError):
        return False
    # the last digit has bits that a decoder lets be
    return bool(base64.b64encode(signature).decode() == text)
