"""What people do with the service over HTTP, from an empty database to a report."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from app.client import EpsilonLedger
from tests.training_document import training_document

PEOPLE = {
    "officer": "compliance_officer",
    "second_officer": "compliance_officer",
    "engineer": "ml_engineer",
    "auditor": "auditor",
}
COUNT: dict[str, Any] = {
    "v": 1,
    "where": [],
    "group_by": [],
    "measures": [{"fn": "count"}],
    "privacy": {"epsilon": "0.01", "delta": "0", "noise": "discrete_laplace"},
}
COLUMNS = [
    {"name": "age", "type": "int64", "bounds": {"low": "0", "high": "120"}, "grid": "1"},
    {"name": "stays", "type": "bool", "domain": [False, True], "domain_source": "public"},
]
ROWS = 400
LIMIT = {"epsilon": "20", "delta": "1e-6"}
# generous: a worker may have to be started, and a lost wake-up is sent again after 30 s
WITHIN_S = 280.0


@dataclass
class Cast:
    """One client for each person, and what they have made together."""

    people: dict[str, EpsilonLedger]
    keys: dict[str, str]
    dataset_id: str
    root: UUID

    @property
    def inputs(self) -> list[dict[str, Any]]:
        return [
            {
                "dataset_id": self.dataset_id,
                "version": 1,
                "budget_id": str(self.root),
                "blocks": "all",
            }
        ]

    def count(self, purpose: str = "a count") -> dict[str, Any]:
        """Submit a count; a fresh one each time."""
        return self.people["engineer"].submit(
            "query", inputs=self.inputs, spec=COUNT, purpose=purpose, reuse=False
        )

    def train(self) -> dict[str, Any]:
        """Submit a small training run."""
        spec = training_document(
            ["age"], "stays", sampling={"kind": "poisson", "rate": "0.2"}, steps=5
        )
        return self.people["engineer"].submit(
            "train", inputs=self.inputs, spec=spec, purpose="a model"
        )

    def wait(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job once it is settled."""
        ended = self.people["engineer"].wait(job["id"], timeout_s=WITHIN_S)
        assert ended["state"] == "settled", ended
        return ended

    def hold_outside(self) -> None:
        """A job that runs elsewhere, under a reservation, to its commit."""
        with self.people["engineer"].reservation(
            inputs=self.inputs,
            mechanism={"type": "gaussian", "noise_multiplier": "50"},
            max_units=2,
            tool="a tool of ours",
        ) as held:
            held.start(2)
            held.output_sha256 = "0" * 64


@contextmanager
def cast(
    url: str, admin_key: str, folder: Path, *, limit: Mapping[str, str] = LIMIT
) -> Iterator[Cast]:
    """People of every role, a table, and its lifetime root that two of them have agreed on."""
    folder.mkdir()
    lines = [f"{n % 90},{'true' if n % 3 else 'false'}" for n in range(ROWS)]
    (folder / "staff.csv").write_text("\n".join(["age,stays", *lines, ""]))
    with ExitStack() as stack:
        admin = stack.enter_context(EpsilonLedger(url, admin_key))
        people, keys, ids = {"admin": admin}, {"admin": admin_key}, {}
        for name, role in PEOPLE.items():
            person = admin.post("/v1/people", {"name": name, "roles": [role]})
            keys[name] = admin.post("/v1/api-keys", {"principal_id": person["id"]})["key"]
            people[name] = stack.enter_context(EpsilonLedger(url, keys[name]))
            ids[name] = person["id"]
        team = admin.post("/v1/projects", {"name": "team"})["id"]
        admin.post(f"/v1/projects/{team}/members", {"principal_id": ids["engineer"]})
        admin.post("/v1/connections", {"name": "rows", "kind": "folder", "root": str(folder)})
        officer = people["officer"]
        declared = {
            "name": "staff",
            "access": "private",
            "population": "people of a test",
            "purpose": "a test",
            "source": {"connection": "rows", "path": "staff.csv", "format": "csv"},
            "columns": COLUMNS,
            "unit_of_privacy": {"kind": "record"},
            "relation": "add_remove",
            "blocks": {"kind": "none"},
            "nominal_size": ROWS,
            "new_people": True,
            "no_line_breaks_in_texts": True,
        }
        dataset = officer.post("/v1/datasets", declared)["id"]
        officer.post(f"/v1/datasets/{dataset}/grants", {"project_id": team})
        budget = officer.post(
            "/v1/budgets",
            {
                "kind": "lifetime",
                "dataset_id": dataset,
                "name": "for life",
                "limit": dict(limit),
                "reason": "policy 12",
            },
        )
        people["second_officer"].post(
            f"/v1/approvals/{budget['approval_id']}/decision",
            {
                "decision": "approve",
                "change_sha256": budget["change_sha256"],
                "reason": "agreed",
            },
            if_match=1,
        )
        yield Cast(people, keys, dataset, UUID(budget["id"]))
