"""The page recomputes chains that the service made: its vectors are written here, by that code.

`python -m tests.web.test_chain_vectors` writes them anew.
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.domain.accounting.prices import charge_parts, price
from app.domain.checkpoints import Head, checkpoint_body, checkpoint_hash, signed_bytes
from app.domain.ledger import GENESIS_HASH, EntryDraft, EntryKind, entry_body, entry_hash
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Loss
from app.services.entries import entry_json

FILE: Final = Path(__file__).parents[2] / "frontend" / "src" / "lib" / "chain.vectors.json"
START: Final = datetime(2027, 1, 10, 9, 30, tzinfo=UTC)
KEY: Final = Ed25519PrivateKey.from_private_bytes(sha256(b"a key of test vectors").digest())
MECHANISM: Final = {"type": "gaussian", "noise_multiplier": "9"}
# what a careless reader of JSON would write another way: letters, escapes, order, large numbers
FACTS: Final[dict[str, Any]] = {
    "reason": 'Zürich \u2028 \U0001f600 "quoted" \\ /slash\n\t\u0001\u007f',
    "b": [True, None, -1, 2**53 - 1, []],
    "B": {"z": "", "a-1": {}, "a": "0.10"},
}


def identity(number: int) -> str:
    """An id that is the same at every call."""
    return str(UUID(int=number, version=4))


def vectors() -> dict[str, Any]:
    """A chain of one budget with a charge, a release and facts, and a checkpoint that signed it."""
    budget, job = identity(1), identity(2)
    priced = price(parse_mechanism(MECHANISM), "add_remove")
    part = {"mechanism": MECHANISM, "price": priced.digest, "units": 3}
    entries: list[dict[str, Any]] = []

    def append(
        kind: EntryKind,
        units: int = 0,
        resolves: str | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        number = len(entries) + 1
        draft = EntryDraft(
            id=identity(100 + number),
            kind=kind,
            charge=charge_parts([(priced, units)]) if units else Loss.zero(),
            actor=identity(3) if units else "sweep",
            reservation=identity(4) if units or resolves else None,
            resolves=resolves,
            job=job if units else None,
            parts=[{**part, "units": units}] if units else [],
            facts=facts,
        )
        body = entry_body(
            draft,
            budget_id=budget,
            seq=number,
            previous_hash=entries[-1]["hash"] if entries else GENESIS_HASH,
            at=START + timedelta(seconds=number, microseconds=number),
        )
        shown = entry_json(number, body.decode(), entry_hash(body), lambda _: None, {})
        entries.append(shown)

    append("opened", facts=FACTS)
    append("reserved", 3)
    append("posted", 2, resolves=identity(102))
    append("reserved", 1)
    append("voided", resolves=identity(104))
    append("frozen", facts={"cause": "a test"})
    heads = [
        Head(budget, 5, entries[4]["hash"]),
        Head(identity(9), 1, sha256(b"another budget").hexdigest()),
    ]
    raw = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    at = START + timedelta(hours=1)
    body = checkpoint_body(
        seq=1,
        previous_hash=GENESIS_HASH,
        at=at,
        heads=heads,
        key_sha256=sha256(raw).hexdigest(),
    )
    return {
        "budget": budget,
        "entries": entries,
        "checkpoint": {
            "seq": 1,
            "at": at.isoformat(),
            "body": body.decode(),
            "hash": checkpoint_hash(body),
            "signature": base64.b64encode(KEY.sign(signed_bytes(body))).decode(),
            "heads": [
                {"budget_id": head.budget_id, "seq": head.seq, "hash": head.hash}
                for head in sorted(heads)
            ],
        },
        "public_key": KEY.public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    }


def text() -> str:
    """The file as it has to be."""
    return json.dumps(vectors(), indent=2) + "\n"


def test_the_vectors_of_the_page_are_what_this_code_makes() -> None:
    assert json.loads(FILE.read_text("utf-8")) == vectors()


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
