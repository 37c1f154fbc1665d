"""A house in which something has happened: what each page shows when it is not empty."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from app.services import report_building
from app.services.report_signing import sign_built
from app.services.witness import WitnessJournal
from app.settings import Settings
from tests.api.test_effects import asked
from tests.api.training import COLUMNS
from tests.api.world import World, open_root, register
from tests.patience import wait_until
from workers.context import Context
from workers.running import run_job

SQL = "SELECT stays, COUNT(*), AVG(wage) FROM staff GROUP BY stays"
LONG_NAME = "study_of_who_stays_and_why_in_a_year_with_a_name_that_nobody_would_choose"


def live_in(world: World) -> None:
    """A dataset with a share of its root, an answered query, a report, and what waits.

    The ids of all that has a page of its own are put into the world's.
    """
    rows = "".join(f"{20 + n % 50},{1000 + 10 * n},{str(n % 3 == 0).lower()}\n" for n in range(300))
    (world.folder / "staff.csv").write_text("age,wage,stays\n" + rows, encoding="utf-8")
    source = {"connection": "files", "path": "staff.csv", "format": "csv"}
    unit = {"kind": "record"}
    dataset = register(world, name="staff", columns=COLUMNS, unit_of_privacy=unit, source=source)
    limit = {"epsilon": "8", "delta": "1e-6"}
    root = open_root(world, dataset, accountant="rdp-mix/1", limit=limit)
    share = {
        "kind": "allocation",
        "parent_id": root,
        "name": LONG_NAME,
        "limit": {"epsilon": "2", "delta": "1e-7"},
        "accountant": "rdp-mix/1",
        "holder": {"project_id": world.ids["team"]},
        "reason": "the study",
    }
    leaf = world.made("/budgets", share, by="compliance_officer")["id"]
    world.ids |= {"dataset": dataset, "root": root, "leaf": leaf}
    world.ids["job"] = answered_query(world)
    world.ids["approval"] = asked(world, root, "raise", limit={"epsilon": "9"})
    attestation = {
        "dataset_id": dataset,
        "kind": "other_releases",
        "statement": "Nothing else was released.",
        "facts": {"releases": []},
        "expires_at": (datetime.now(UTC) + timedelta(days=90)).isoformat(),
    }
    world.made("/attestations", attestation, by="compliance_officer")
    hook = {"url": "http://127.0.0.1:9/hooks", "kinds": ["approval", "threshold"]}
    world.made("/webhooks", hook, by="admin")
    world.ids["report"] = built_report(world)


def answered_query(world: World) -> str:
    """A query that has run; its job."""
    ids = world.ids
    body = {
        "kind": "query",
        "inputs": [
            {"dataset_id": ids["dataset"], "version": 1, "budget_id": ids["leaf"], "blocks": "all"}
        ],
        "spec": {"sql": SQL, "privacy": {"epsilon": "1.9", "delta": "0", "noise": "auto"}},
        "purpose": "who stays, " + LONG_NAME,
    }
    job: str = world.made("/jobs", body, by="ml_engineer")["id"]
    services = world.client.app.state.services  # type: ignore[attr-defined]
    home: Path = services.jobs.home
    settings = Settings(database_url="sqlite://", home=home)
    with closing(WitnessJournal(home / "w")) as journal:
        run_job(Context(settings, services.make_session, "w", journal), UUID(job))
    return job


def built_report(world: World) -> str:
    """A report that a worker has built and the process that answers has signed."""
    body = {"dataset_id": world.ids["dataset"]}
    report: str = world.made("/reports", body, by="auditor")["id"]
    services = world.client.app.state.services  # type: ignore[attr-defined]
    report_building.build(
        services.make_session, UUID(report), owner="me", terms_file=Path(), embedded=False
    )
    sign_built(services.make_session, services.reports.checkpoints)
    wait_until(
        lambda: world.ask("GET", f"/reports/{report}", by="auditor").json()["state"] == "ready",
        what="the report is signed",
    )
    return report
