"""Every falsified bundle is found, and no honest one is: by seeds, each kind named and counted."""

import io
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from app import verifier
from tests.histories import History, history
from tests.tampering import KEY, KINDS, LEVELS, Bundle, bytes_changed, raw_public

PUBLIC = raw_public(KEY)
NONE: Counter[str] = Counter()


def honest_bundle(made: History) -> bytes:
    """The bundle of a history, signed with the key of these tests in place of the ledger's own."""
    return Bundle.read(made.bundle()).write("signed")


def verified(raw: bytes, key: bytes | None = PUBLIC, **asked: object) -> verifier.Report:
    return verifier.verify(io.BytesIO(raw), key, **asked)  # type: ignore[arg-type]


def falsify_and_look(
    bundles: list[bytes], count: int, seed: int, so_far: Counter[str] = NONE
) -> Counter[str]:
    """Falsify this often, in turn by every kind that a bundle allows; every one must be found."""
    draw = Random(seed)
    seen = {}
    for raw in bundles:
        report = verified(raw)
        assert report.fault is None, report.fault.to_json()
        seen[raw] = {report.last[0]: report.last[1]}
    found: Counter[str] = Counter()
    names = [*KINDS]
    while found.total() < count:
        raw = draw.choice(bundles)
        if draw.random() < 0.15:
            name, false = bytes_changed(raw, draw)
            if false != raw:
                report = verified(false)
                assert report.fault is not None, (name, seed, found.total())
                found[f"bytes: {name}"] += 1
            continue
        name = names[found.total() % len(names)] if draw.random() < 0.9 else draw.choice(names)
        kind, bundle = KINDS[name], Bundle.read(raw)
        level = "signed" if "signed" in kind.levels and draw.random() < 0.4 else ""
        level = level or least_seen(kind.levels, name, so_far + found, draw)
        if not kind.falsify(bundle, draw):
            continue
        false = bundle.write(level)
        if false == raw:
            continue
        rolled_back = name.startswith("rolled back")
        report = verified(false, seen=seen[raw] if rolled_back else {})
        where = (name, level, seed, found.total())
        assert report.fault is not None, where
        assert report.fault.what, where
        if level == "signed" and kind.codes:
            assert report.fault.code in kind.codes, (where, report.fault.to_json())
        found[f"{name}, {level}"] += 1
    return found


def least_seen(levels: Sequence[str], name: str, found: Counter[str], draw: Random) -> str:
    """So that kinds which few bundles allow come at every level too."""
    return min(levels, key=lambda level: (found[f"{name}, {level}"], draw.random()))


def bundles_of(
    seeds: range, tmp_path: Path, migrated_sqlite: Path, *, exports: int, steps: int
) -> list[bytes]:
    found = []
    for seed in seeds:
        with history(seed, tmp_path / str(seed), migrated_sqlite) as made:
            for _ in range(exports):
                made.go(steps)
                found.append(honest_bundle(made))
    return found


def test_every_falsified_bundle_is_found(tmp_path: Path, migrated_sqlite: Path) -> None:
    bundles = bundles_of(range(1), tmp_path, migrated_sqlite, exports=1, steps=70)
    found = falsify_and_look(bundles, 150, seed=1)
    assert found.total() == 150


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_each_of_ten_thousand_falsified_bundles_is_found(
    tmp_path: Path, migrated_sqlite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundles = bundles_of(range(100, 115), tmp_path, migrated_sqlite, exports=2, steps=50)
    found: Counter[str] = Counter()
    for seed in range(20):
        found += falsify_and_look(bundles, 500, seed, found)
    assert found.total() == 10_000
    missing = [
        f"{name}, {level}"
        for name, kind in KINDS.items()
        for level in kind.levels
        if not found[f"{name}, {level}"]
    ]
    with capsys.disabled():
        sys.stdout.write("".join(f"{count:6} {name}\n" for name, count in sorted(found.items())))
    assert not missing
    assert {level for name in found for level in LEVELS if name.endswith(level)} == {*LEVELS}


def look_at_honest(made: History, exports: int, steps: int) -> tuple[int, Counter[str]]:
    """Verify the bundle of a growing ledger by its first key and by its newest one."""
    first, clean, kinds = made.key, 0, Counter[str]()
    raw = b""
    for _ in range(exports):
        made.go(steps)
        raw = made.bundle()
        for key in {first, made.key}:
            report = verified(raw, key)
            assert report.fault is None, report.fault.to_json()
            assert report.beyond == 0
            assert report.signed > 0
        clean += 1
    for chain in Bundle.read(raw).chains.values():
        kinds.update(body["kind"] for body in chain)
    return clean, kinds


def test_no_honest_bundle_raises_an_alarm(tmp_path: Path, migrated_sqlite: Path) -> None:
    for seed in range(2, 4):
        with history(seed, tmp_path / str(seed), migrated_sqlite) as made:
            assert look_at_honest(made, 3, 25)[0] == 3


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_none_of_a_thousand_honest_bundles_raises_an_alarm(
    tmp_path: Path, migrated_sqlite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean, kinds, periods = 0, Counter[str](), 0
    for seed in range(1000, 1050):
        with history(seed, tmp_path / str(seed), migrated_sqlite) as made:
            count, of = look_at_honest(made, 20, 6)
            clean, kinds, periods = clean + count, kinds + of, periods + made.periods()
    with capsys.disabled():
        sys.stdout.write(f"{clean} bundles, {periods} periods, entries {dict(kinds)}\n")
    assert clean == 1000
    assert {*kinds} >= {
        *("opened", "reserved", "posted", "voided", "opening", "refreshed", "raised", "lowered"),
        *("frozen", "thawed", "closed", "transferred"),
    }
