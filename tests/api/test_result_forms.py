"""A result comes as JSON, CSV or Parquet, as it is asked for, or is refused in words."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.api.result_forms import chosen_form, forms_of
from app.client import EpsilonLedger, Refused, read_result_csv
from app.db.models import Job, Reservation, Result
from app.db.session import database_now, transaction
from app.domain.errors import FormatNotAvailable
from app.reporting.result_table import RESULT_PARQUET
from app.services.jobs import artifact_folder
from tests.api.test_client import COUNT, over
from tests.api.world import World, open_root, register, reservation_body
from tests.reporting.test_result_table import DOCUMENT


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "json"),
        ("application/json", "json"),
        ("text/csv", "csv"),
        ("TEXT/CSV", "csv"),
        ("text/*", "csv"),
        ("application/vnd.apache.parquet", "parquet"),
        ("application/*", "json"),
        ("text/csv;q=0.5, application/json;q=0.4", "csv"),
        ("text/csv;q=0.5, application/json", "json"),
        ("text/csv; q=0.1, */*; q=0.9", "json"),
        ("text/html, */*;q=0.1", "json"),
        ("application/json;q=0, */*", "csv"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
    ],
)
def test_accept_chooses_the_form_that_it_likes_best(accept: str, form: str) -> None:
    assert chosen_form(None, accept, ["json", "csv", "parquet"]) == form


@pytest.mark.parametrize(
    "accept",
    ["text/html", "", "text/csv;q=0", "text/csv;q=nan", "*/*;q=-1", "application/json;q=x"],
)
def test_a_form_that_nobody_has_is_refused(accept: str) -> None:
    with pytest.raises(FormatNotAvailable) as refused:
        chosen_form(None, accept, ["json", "csv"])
    assert refused.value.available == ["json", "csv"]


def test_a_named_form_goes_before_accept() -> None:
    assert chosen_form("csv", "application/json", ["json", "csv"]) == "csv"
    with pytest.raises(FormatNotAvailable):
        chosen_form("parquet", "*/*", ["json", "csv"])


def test_a_training_has_no_table() -> None:
    assert forms_of({"test_accuracy": 0.9, "artifacts": [{"name": "card.json"}]}) == ["json"]


def settled(world: World, document: Mapping[str, Any], parquet: bytes | None = None) -> str:
    """A job with this result, and with this file as its Parquet form."""
    dataset = register(world)
    inputs = reservation_body(dataset, open_root(world, dataset))["inputs"]
    body = {"kind": "query", "inputs": inputs, "spec": COUNT, "purpose": "a count"}
    job_id: str = world.made("/jobs", body, by="ml_engineer")["id"]
    services = world.client.app.state.services  # type: ignore[attr-defined]
    artifacts = []
    if parquet is not None:
        folder = artifact_folder(services.jobs.home, UUID(job_id), 1)
        folder.mkdir(parents=True)
        (folder / RESULT_PARQUET).write_bytes(parquet)
        digest = sha256(parquet).hexdigest()
        artifacts = [{"name": RESULT_PARQUET, "sha256": digest, "size_bytes": len(parquet)}]
    with transaction(services.make_session) as session:
        job, now = session.get_one(Job, UUID(job_id)), database_now(session)
        session.add(
            Result(
                job_id=job.id,
                fence=1,
                document=dict(document),
                artifacts=artifacts,
                created_at=now,
            )
        )
        session.get_one(Reservation, job.reservation_id).state = "posted"
        job.state, job.finished_at = "settled", now
    return job_id


def test_a_result_is_given_in_the_form_that_is_asked_for(on_sqlite: World, tmp_path: Path) -> None:
    job_id = settled(on_sqlite, DOCUMENT, parquet=b"PAR1 rows PAR1")
    path = f"/jobs/{job_id}/result"
    plain = on_sqlite.ask("GET", path)
    assert plain.json()["rows"] == DOCUMENT["rows"]
    assert plain.headers["vary"] == "Accept"
    table = on_sqlite.ask("GET", path, headers={"Accept": "text/csv"})
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert f'attachment; filename="result-{job_id}.csv"' == table.headers["content-disposition"]
    assert table.headers["x-content-type-options"] == "nosniff"
    assert table.content == on_sqlite.ask("GET", f"{path}?format=csv").content
    assert table.content.splitlines()[1].startswith(b"'=1+2,1,-3,89.9,")
    file = on_sqlite.ask("GET", f"{path}?format=parquet")
    assert (file.content, file.headers["content-type"]) == (
        b"PAR1 rows PAR1",
        "application/vnd.apache.parquet",
    )
    ledger = over(on_sqlite)
    rows = read_result_csv(ledger.save_result(job_id, tmp_path / "saved.csv"))
    assert rows[0]["dest"] == "=1+2"
    assert rows[0]["quantile(delay, 0.5) half_width_95"] is None
    saved = ledger.save_result(job_id, tmp_path / "saved.parquet", form="parquet")
    assert saved.read_bytes() == b"PAR1 rows PAR1"


def test_a_form_that_a_result_does_not_come_in_is_refused_with_those_that_it_does(
    on_sqlite: World, tmp_path: Path
) -> None:
    job_id = settled(on_sqlite, DOCUMENT)
    ledger: EpsilonLedger = over(on_sqlite)
    with pytest.raises(Refused) as refused:
        ledger.save_result(job_id, tmp_path / "saved", form="parquet")
    assert (refused.value.status, refused.value.code) == (406, "format-not-available")
    assert refused.value["available"] == ["json", "csv"]
    assert list(tmp_path.glob("saved*")) == []
    path = f"/jobs/{job_id}/result"
    assert on_sqlite.ask("GET", path, headers={"Accept": "text/html"}).status_code == 406
    unknown = on_sqlite.ask("GET", f"{path}?format=xlsx")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "invalid-parameter")


def test_a_file_that_is_gone_is_no_form_any_more(on_sqlite: World) -> None:
    job_id = settled(on_sqlite, DOCUMENT, parquet=b"PAR1")
    services = on_sqlite.client.app.state.services  # type: ignore[attr-defined]
    (artifact_folder(services.jobs.home, UUID(job_id), 1) / RESULT_PARQUET).unlink()
    answer = on_sqlite.ask("GET", f"/jobs/{job_id}/result?format=parquet")
    assert (answer.status_code, answer.json()["available"]) == (406, ["json", "csv"])


@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
def test_no_form_tells_a_stranger_that_there_is_a_job(on_sqlite: World, form: str) -> None:
    job_id = settled(on_sqlite, DOCUMENT, parquet=b"PAR1")
    answer = on_sqlite.ask("GET", f"/jobs/{job_id}/result?format={form}", by="stranger")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
