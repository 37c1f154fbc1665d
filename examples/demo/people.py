"""Who plays in the demo, and how they come in: keys for programs, passwords for the page.

Keys and passwords are made as the demo runs, for this run alone; none stands in a file of ours.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.client import EpsilonLedger

# name, role, what the person is there for
CAST = (
    ("Olga", "compliance_officer", "officer"),
    ("Omar", "compliance_officer", "second officer"),
    ("Elif", "ml_engineer", "engineer"),
    ("Aiko", "auditor", "auditor"),
)
ADMIN = "admin"
PASSWORD_BYTES = 8


@dataclass
class Cast:
    """One client a person, and the ids of what they made. ids: of the people, by name."""

    admin: EpsilonLedger
    officer: EpsilonLedger
    second_officer: EpsilonLedger
    engineer: EpsilonLedger
    auditor: EpsilonLedger
    project_id: str
    ids: dict[str, str]
    auditor_key: str
    datasets: dict[str, str] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    team_budget_id: str = ""

    def close(self) -> None:
        """Give all connections back."""
        for client in (
            self.admin,
            self.officer,
            self.second_officer,
            self.engineer,
            self.auditor,
        ):
            client.close()


def introduce(url: str, admin_key: str) -> Cast:
    """One person a role, a second officer, and a team."""
    admin = EpsilonLedger(url, admin_key)
    ids = {ADMIN: admin.get("/v1/me")["id"]}
    keys = {}
    for name, role, _ in CAST:
        ids[name] = admin.post("/v1/people", {"name": name, "roles": [role]})["id"]
        keys[name] = admin.post("/v1/api-keys", {"principal_id": ids[name]})["key"]
    project = admin.post("/v1/projects", {"name": "delays and digits"})
    admin.post(f"/v1/projects/{project['id']}/members", {"principal_id": ids["Elif"]})
    olga, omar, elif_, aiko = (EpsilonLedger(url, keys[name]) for name, _, _ in CAST)
    return Cast(admin, olga, omar, elif_, aiko, project["id"], ids, keys["Aiko"])


def passwords(url: str, admin_key: str, ids: Mapping[str, str]) -> dict[str, str]:
    """A password of each person, by name: the admin invites, and here the invitation is used."""
    made = {}
    with EpsilonLedger(url, admin_key) as admin:
        for name, person_id in ids.items():
            made[name] = secrets.token_hex(PASSWORD_BYTES)
            token = admin.post(f"/v1/people/{person_id}/invitations")["token"]
            admin.post("/v1/auth/password", {"token": token, "password": made[name]})
    return made


def ways_in(url: str, made: Mapping[str, str]) -> Sequence[str]:
    """What a person reads who wants to see the page: where it is, and who to be."""
    roles = {name: what for name, _, what in CAST} | {ADMIN: "administrator"}
    lines = [f"  {name:<6} {roles[name]:<15} password {made[name]}" for name in roles]
    return [f"open {url}/ and sign in as", *lines]
