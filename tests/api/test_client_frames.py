"""A result as the frames that people work with, and progress for whoever looks on."""

import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from app import client as client_module
from app.client import EpsilonLedger
from app.reporting.result_table import result_table
from tests.api.test_client import over, settle, submitted
from tests.api.test_result_forms import settled
from tests.api.world import World
from tests.reporting.test_result_table import DOCUMENT
from workers.engines.table_file import write_parquet


class Looked(StringIO):
    """A standard error that somebody looks at, or nobody."""

    def __init__(self, *, is_seen: bool) -> None:
        super().__init__()
        self.is_seen = is_seen

    def isatty(self) -> bool:
        return self.is_seen


@pytest.fixture
def job(on_sqlite: World, tmp_path: Path) -> tuple[EpsilonLedger, str]:
    """A settled query whose file the worker's own code wrote."""
    write_parquet(result_table(DOCUMENT), tmp_path)
    (file,) = tmp_path.glob("*.parquet")
    return over(on_sqlite), settled(on_sqlite, DOCUMENT, parquet=file.read_bytes())


def test_every_frame_holds_the_released_table_with_its_errors(
    job: tuple[EpsilonLedger, str],
) -> None:
    ledger, job_id = job
    table = result_table(DOCUMENT)
    names = [column.name for column in table.columns]
    arrow, pandas, polars = ledger.arrow(job_id), ledger.pandas(job_id), ledger.polars(job_id)
    assert arrow.column_names == list(pandas.columns) == polars.columns == names
    assert arrow.num_rows == len(pandas) == polars.height == len(table.rows)
    for place, name in enumerate(names):
        expected = [row[place] for row in table.rows]
        if not any(isinstance(value, list | str) for value in expected if value is not None):
            assert arrow[name].to_pylist() == polars[name].to_list() == expected, name


def test_progress_is_shown_to_a_terminal_and_to_nobody_else(
    on_sqlite: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "POLL_S", 0.01)
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    ledger = over(on_sqlite)
    job_id, _ = submitted(ledger, on_sqlite)[0]["id"], None
    settle(on_sqlite, job_id)
    for is_seen in (True, False):
        seen = Looked(is_seen=is_seen)
        monkeypatch.setattr(sys, "stderr", seen)
        assert ledger.watch(job_id)["state"] == "settled"
        assert bool(seen.getvalue()) == is_seen


def test_a_line_of_progress_says_where_a_run_is_and_what_it_has_spent() -> None:
    line: dict[str, Any] = {"step": 3, "steps": 10, "epsilon": "0.4", "delta": "1e-6"}
    said = client_module._line_text({**line, "seconds_left": 12})
    assert said == "step 3 of 10, epsilon so far 0.4 at delta 1e-6, about 12 s left"
    assert client_module._line_text({"stage": "counting"}) == "counting"
