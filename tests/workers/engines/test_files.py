"""What is looked at of a file before anything is spent: all of a public one, none of a private."""

import hashlib
from pathlib import Path

import pytest

from app.domain.columns import parse_columns
from app.domain.datasets import Access, Dataset, Source
from tests.object_store import KEYS, REGION, object_store
from workers.engines.api import EngineRefused, Input, SourceUnavailable, StoredObject
from workers.engines.files import check_input

COLUMNS = parse_columns([{"name": "code", "type": "string"}])
ROWS = b"code\nx\n"


def source(file: Path, access: Access, sha256: str | None, held: StoredObject | None) -> Input:
    dataset = Dataset("d", "d", access, COLUMNS, Source("c", file.name, "csv"))
    return Input(dataset, 1, file, sha256=sha256, stored=held)


@pytest.mark.parametrize("stands_in", ["a folder", "a store"])
def test_a_public_file_that_is_not_the_declared_one_is_refused_while_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stands_in: str
) -> None:
    monkeypatch.setenv("EPSILON_SOURCE_LAKE", KEYS)
    with object_store() as store:
        store.objects["lake/rows.csv"] = ROWS
        file, held = tmp_path / "rows.csv", None
        if stands_in == "a folder":
            file.write_bytes(ROWS)
        else:
            address = f"{store.endpoint}/lake/rows.csv"
            held = StoredObject(address, REGION, "env:EPSILON_SOURCE_LAKE")
        check_input(source(file, "public", hashlib.sha256(ROWS).hexdigest(), held))
        with pytest.raises(SourceUnavailable):
            check_input(source(file, "public", "0" * 64, held))


def test_a_private_file_is_not_opened_whatever_was_declared_of_it(tmp_path: Path) -> None:
    # there is none: to open it would fail
    check_input(source(tmp_path / "rows.csv", "private", "0" * 64, None))


def test_a_path_that_reads_as_a_pattern_is_refused_before_anything_is_spent(tmp_path: Path) -> None:
    with pytest.raises(EngineRefused):
        check_input(source(tmp_path / "*.csv", "private", None, None))
