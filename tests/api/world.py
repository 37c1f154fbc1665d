"""A small house over HTTP: one person per role, a second officer, a project, a folder of files."""

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from httpx import Response
from starlette.exceptions import StarletteDeprecationWarning

from app.services.principals import bootstrap_admin

with warnings.catch_warnings():
    # the test client speaks through httpx, which this house pins, and says it would rather not
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    from fastapi.testclient import TestClient

__all__ = ["TestClient", "World", "build"]

ROLES = ("ml_engineer", "compliance_officer", "auditor", "admin", "worker")
_KEYS = itertools.count(1)


def fresh_key() -> str:
    return f"key-{next(_KEYS)}"


@dataclass
class World:
    """client: speaks to the app. keys: API key text by the name of its person."""

    client: TestClient
    folder: Path
    keys: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        by: str | None = "ml_engineer",
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """One request; POSTs get a key of their own unless `key` is given."""
        sent = {"Idempotency-Key": key or fresh_key()} if method == "POST" else {}
        if by is not None:
            sent["Authorization"] = f"Bearer {self.keys.get(by, by)}"
        sent.update(headers or {})
        answer: Response = self.client.request(method, f"/v1{path}", json=body, headers=sent)
        return answer

    def made(self, path: str, body: Any, *, by: str) -> dict[str, Any]:
        """The answer to a POST that has to work."""
        answer = self.ask("POST", path, body, by=by)
        assert answer.is_success, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def file(self, name: str) -> str:
        """A plain file in the folder of the connection; nothing ever reads it."""
        (self.folder / name).write_bytes(b"rows")
        return name


def build(client: TestClient, folder: Path) -> World:
    """People with keys, the project `team` with the engineer in it, the connection `files`."""
    services = client.app.state.services  # type: ignore[attr-defined]
    admin = bootstrap_admin(services.make_session)
    assert admin is not None
    world = World(client, folder, {"admin": admin})
    people = {role: [role] for role in ROLES if role != "admin"}
    people["second_officer"] = ["compliance_officer"]
    people["stranger"] = ["ml_engineer"]
    for name, roles in people.items():
        person = world.made("/people", {"name": name, "roles": roles}, by="admin")
        made = world.made("/api-keys", {"principal_id": person["id"]}, by="admin")
        world.ids[name], world.keys[name] = person["id"], made["key"]
    world.ids["team"] = world.made("/projects", {"name": "team"}, by="admin")["id"]
    member = {"principal_id": world.ids["ml_engineer"]}
    world.made(f"/projects/{world.ids['team']}/members", member, by="admin")
    connection = {"name": "files", "kind": "folder", "root": str(folder)}
    world.made("/connections", connection, by="admin")
    return world


def dataset_body(path: str, *, name: str = "trips", **changes: Any) -> dict[str, Any]:
    """A registration that is right; `changes` replace or add top-level fields."""
    body = {
        "name": name,
        "access": "private",
        "population": "passengers",
        "purpose": "delays",
        "source": {"connection": "files", "path": path, "format": "parquet"},
        "columns": [
            {"name": f"{name}_user", "type": "string"},
            {
                "name": "distance",
                "type": "int64",
                "bounds": {"low": "0", "high": "5000"},
                "grid": "1",
            },
        ],
        "unit_of_privacy": {
            "kind": "user",
            "column": f"{name}_user",
            "max_groups_per_user": 3,
            "max_rows_per_user_group": 10,
        },
        "relation": "add_remove",
        "blocks": {"kind": "none"},
        "nominal_size": 1000,
        "new_people": True,
    }
    return {**body, **changes}


def public_body(path: str, *, name: str = "holidays") -> dict[str, Any]:
    """A registration of a public dataset."""
    return {
        "name": name,
        "access": "public",
        "source": {"connection": "files", "path": path, "format": "csv"},
        "columns": [{"name": "day", "type": "date"}],
    }


def register(world: World, *, name: str = "trips", granted: bool = True, **changes: Any) -> str:
    """A private dataset, granted to `team`."""
    body = dataset_body(world.file(f"{name}.parquet"), name=name, **changes)
    made: str = world.made("/datasets", body, by="compliance_officer")["id"]
    if granted:
        grant = {"project_id": world.ids["team"]}
        world.made(f"/datasets/{made}/grants", grant, by="compliance_officer")
    return made


def budget_body(dataset_id: str, *, epsilon: str = "1", **changes: Any) -> dict[str, Any]:
    """A lifetime root under `pure/1`."""
    body = {
        "kind": "lifetime",
        "dataset_id": dataset_id,
        "name": "for life",
        "limit": {"epsilon": epsilon, "delta": "0"},
        "accountant": "pure/1",
        "reason": "policy 12",
    }
    return {**body, **changes}


def open_root(world: World, dataset_id: str, *, epsilon: str = "1", **changes: Any) -> str:
    """An open root: one officer proposes, the other approves."""
    body = budget_body(dataset_id, epsilon=epsilon, **changes)
    proposed = world.made("/budgets", body, by="compliance_officer")
    approval = world.ask("GET", f"/approvals/{proposed['approval_id']}", by="second_officer")
    decided = world.ask(
        "POST",
        f"/approvals/{proposed['approval_id']}/decision",
        {"decision": "approve", "change_sha256": approval.json()["change_sha256"], "reason": "ok"},
        by="second_officer",
        headers={"If-Match": approval.headers["ETag"]},
    )
    assert decided.is_success, decided.text
    budget_id: str = proposed["id"]
    return budget_id


def reservation_body(dataset_id: str, budget_id: str, **changes: Any) -> dict[str, Any]:
    """Room for ten pure units of 0.01."""
    body = {
        "inputs": [
            {"dataset_id": dataset_id, "version": 1, "budget_id": budget_id, "blocks": "all"}
        ],
        "mechanism": {"type": "pure", "epsilon": "0.01"},
        "max_units": 10,
        "lease_s": 900,
        "tool": "tumult 1.0",
    }
    return {**body, **changes}
