"""A service over a restored database: what people see, and how they put it right (R22)."""

import shutil
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

from app.main import create_app
from app.settings import Settings
from tests.api.world import TestClient, World, build, open_root, register, reservation_body


def test_a_restored_file_is_noticed_as_the_service_starts_and_put_right_by_two(
    sqlite_url: str, tmp_path: Path
) -> None:
    settings = Settings(database_url=sqlite_url, home=tmp_path / "home")
    file, saved = Path(sqlite_url.removeprefix("sqlite:///")), tmp_path / "saved.sqlite3"
    folder = tmp_path / "files"
    folder.mkdir()
    with TestClient(create_app(settings)) as client:
        world = build(client, folder)
        dataset = register(world)
        root = open_root(world, dataset)
        with closing(connect(file)) as source, closing(connect(saved)) as target:
            source.backup(target)
        held = world.made("/reservations", reservation_body(dataset, root), by="ml_engineer")
        started = {"fence": held["fence"], "part": 0, "started_units": 4}
        world.made(f"/reservations/{held['id']}/start", started, by="ml_engineer")
    for name in (file, *file.parent.glob(f"{file.name}-*")):
        name.unlink()
    shutil.copy(saved, file)

    with TestClient(create_app(settings)) as client:
        world = World(client, folder, world.keys, world.ids)
        seen = world.ask("GET", f"/budgets/{root}", by="compliance_officer")
        assert seen.json()["state"] == "frozen"
        assert world.ask("GET", "/ledger/discrepancies").status_code == 403
        listed = world.ask("GET", "/ledger/discrepancies", by="auditor").json()["items"]
        assert [each["budget_id"] for each in listed] == [root]
        assert listed[0]["evidence"]["missing"][0]["reservation"] == held["id"]

        thaw = {"action": "thaw", "reason": "it ran before"}
        match = {"If-Match": seen.headers["ETag"]}
        refused = world.ask(
            "POST", f"/budgets/{root}/changes", thaw, by="compliance_officer", headers=match
        )
        assert refused.status_code == 409
        assert refused.json()["type"] == "/problems/ledger-behind"
        digest = refused.json()["evidence_sha256"][0]
        path = f"/budgets/{root}/recovery-entries"
        body = {"evidence_sha256": digest, "reason": "the backup of Monday"}
        assert world.ask("POST", path, body, by="compliance_officer").status_code == 428
        assert world.ask("POST", path, body, headers=match).status_code in (403, 404)
        asked = world.ask("POST", path, body, by="compliance_officer", headers=match)
        assert asked.status_code == 202, asked.text
        approval = f"/approvals/{asked.json()['approval_id']}"
        decision = {
            "decision": "approve",
            "change_sha256": asked.json()["change_sha256"],
            "reason": "read",
        }
        for by, status in (("compliance_officer", 403), ("second_officer", 200)):
            version = world.ask("GET", approval, by=by).headers["ETag"]
            decided = world.ask(
                "POST", f"{approval}/decision", decision, by=by, headers={"If-Match": version}
            )
            assert decided.status_code == status, decided.text
        settled = world.ask("GET", "/ledger/discrepancies", by="auditor").json()["items"]
        assert settled[0]["approval_id"] == asked.json()["approval_id"]
        # ten were held and four were seen to begin
        committed = world.ask("GET", f"/budgets/{root}").json()["committed"]
        assert committed == {"epsilon": "0.1", "delta": "0"}
        assert world.ask("GET", "/ledger/verification", by="auditor").json()["verified"]
