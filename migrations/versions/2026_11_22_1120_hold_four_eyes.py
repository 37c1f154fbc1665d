"""hold four eyes: the database asks for the second person too (L3, L10, R19)

Revision ID: 0002
Revises: 0001
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


@dataclass(frozen=True)
class Fence:
    """What a write may not do: `refused` is SQL over OLD and NEW, the same on both databases."""

    name: str
    table: str
    event: str
    refused: str
    message: str


# limits are compared as numbers; where two differ by less than a double can tell, the chain tells
IS_RAISED = "({new[epsilon]} > {old[epsilon]} OR {new[delta]} > {old[delta]})"
TWO_PEOPLE = (
    "OLD.kind IN ('lifetime', 'window') AND NOT (NEW.version > OLD.version AND EXISTS ("
    "SELECT 1 FROM approvals a WHERE a.budget_id = OLD.id AND a.state = 'used'"
    " AND a.subject_version = OLD.version AND a.action = {action}))"
)
FENCES = (
    Fence(
        "approvals_begin_pending",
        "approvals",
        "INSERT",
        "NEW.state <> 'pending' OR NEW.decided_by IS NOT NULL",
        "an approval begins undecided",
    ),
    Fence(
        "approvals_decided_once",
        "approvals",
        "UPDATE",
        "OLD.state IN ('rejected', 'expired', 'used')",
        "an approval is decided once",
    ),
    Fence(
        "approvals_bound",
        "approvals",
        "UPDATE",
        "NEW.change <> OLD.change OR NEW.change_sha256 <> OLD.change_sha256"
        " OR NEW.action <> OLD.action OR NEW.subject_version <> OLD.subject_version"
        " OR NEW.requested_by <> OLD.requested_by OR NEW.expires_at > OLD.expires_at"
        " OR COALESCE(CAST(NEW.budget_id AS text), '') <> COALESCE(CAST(OLD.budget_id AS text), '')"
        " OR COALESCE(CAST(NEW.dataset_id AS text), '')"
        " <> COALESCE(CAST(OLD.dataset_id AS text), '')",
        "an approval is bound to its change",
    ),
    Fence(
        "approvals_in_time",
        "approvals",
        "UPDATE OF state",
        "NEW.state = 'used' AND (NEW.decided_at IS NULL OR NEW.decided_at >= NEW.expires_at)",
        "an approval is used before it expires",
    ),
    Fence(
        "approvals_by_officer",
        "approvals",
        "UPDATE OF state",
        "NEW.state = 'used' AND NOT EXISTS (SELECT 1 FROM principals p WHERE p.id = NEW.decided_by"
        " AND p.active AND p.roles LIKE '%\"compliance_officer\"%')",
        "an officer approves",
    ),
    Fence(
        "approvals_at_version",
        "approvals",
        "UPDATE OF state",
        "NEW.state = 'used' AND NEW.subject_version <> COALESCE("
        "(SELECT b.version FROM budgets b WHERE b.id = NEW.budget_id),"
        " (SELECT d.version FROM datasets d WHERE d.id = NEW.dataset_id), -1)",
        "an approval is used at the version that it was asked for",
    ),
    Fence("approvals_stay", "approvals", "DELETE", "1 = 1", "an approval stays"),
    Fence(
        "budgets_begin_proposed",
        "budgets",
        "INSERT",
        "NEW.kind IN ('lifetime', 'window') AND NEW.state <> 'proposed'",
        "a root or window begins proposed",
    ),
    Fence(
        "budgets_period_of_its_window",
        "budgets",
        "INSERT",
        "NEW.kind = 'period' AND NOT EXISTS (SELECT 1 FROM budgets w WHERE w.id = NEW.parent_id"
        " AND w.kind = 'window' AND w.opened_at IS NOT NULL AND w.policy = NEW.policy)",
        "a period has the limit of its window",
    ),
    Fence(
        "budgets_version_grows",
        "budgets",
        "UPDATE OF version",
        "NEW.version < OLD.version",
        "a version never goes back",
    ),
    Fence(
        "budgets_opened_by_two",
        "budgets",
        "UPDATE OF state",
        "NEW.state = 'open' AND OLD.state <> 'open' AND "
        + TWO_PEOPLE.format(action="CASE OLD.state WHEN 'proposed' THEN 'open' ELSE 'thaw' END"),
        "opening or thawing a root or window takes two people",
    ),
    Fence(
        "budgets_raised_by_two",
        "budgets",
        "UPDATE OF policy",
        f"{IS_RAISED} AND " + TWO_PEOPLE.format(action="'raise'"),
        "raising a root or window takes two people",
    ),
    Fence(
        "budgets_period_follows",
        "budgets",
        "UPDATE OF policy",
        f"OLD.kind = 'period' AND {IS_RAISED} AND NOT EXISTS (SELECT 1 FROM budgets w"
        " WHERE w.id = OLD.parent_id AND w.policy = NEW.policy)",
        "a period is raised with its window",
    ),
    Fence(
        "budgets_closed_for_ever",
        "budgets",
        "UPDATE OF state",
        "OLD.state = 'closed' AND NEW.state <> 'closed'",
        "a closed budget stays closed",
    ),
    Fence(
        "budgets_keep_their_place",
        "budgets",
        "UPDATE OF kind, dataset_id, parent_id",
        "NEW.kind <> OLD.kind OR NEW.dataset_id <> OLD.dataset_id"
        " OR COALESCE(CAST(NEW.parent_id AS text), '') <> COALESCE(CAST(OLD.parent_id AS text), '')",
        "a budget keeps its place in the tree",
    ),
    Fence("budgets_stay", "budgets", "DELETE", "1 = 1", "a budget stays"),
    Fence(
        "datasets_approved_by_two",
        "datasets",
        "UPDATE OF state",
        "OLD.state = 'proposed' AND NEW.state = 'active' AND NOT (NEW.version > OLD.version"
        " AND EXISTS (SELECT 1 FROM approvals a WHERE a.dataset_id = OLD.id AND a.state = 'used'"
        " AND a.subject_version = OLD.version AND a.action = 'register'))",
        "people who look like known ones are called new by two people",
    ),
    Fence(
        "datasets_retired_for_ever",
        "datasets",
        "UPDATE OF state",
        "OLD.state = 'retired' AND NEW.state <> 'retired'",
        "a retired dataset does not return",
    ),
    Fence(
        "datasets_keep_their_people",
        "datasets",
        "UPDATE",
        "NEW.access <> OLD.access OR NEW.document <> OLD.document"
        " OR COALESCE(NEW.relation, '') <> COALESCE(OLD.relation, '')"
        " OR (OLD.state <> 'proposed' AND (NEW.source_fingerprint <> OLD.source_fingerprint"
        " OR NEW.location_sha256 <> OLD.location_sha256))",
        "schema, unit, relation and source of a dataset never change",
    ),
    Fence("datasets_stay", "datasets", "DELETE", "1 = 1", "a dataset stays"),
)


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    numbers = {
        row: {key: number(row.upper(), key, is_sqlite=is_sqlite) for key in ("epsilon", "delta")}
        for row in ("old", "new")
    }
    for fence in FENCES:
        refused = fence.refused.format(**numbers)
        make = fence_sqlite if is_sqlite else fence_postgresql
        for statement in make(fence, refused):
            # as it is: a colon or a percent sign in it is no parameter
            op.execute(sa.text(statement.replace(":", r"\:")))


def number(row: str, key: str, *, is_sqlite: bool) -> str:
    """A member of a policy's limit, as SQL."""
    if is_sqlite:
        return f"CAST(json_extract({row}.policy, '$.limit.{key}') AS real)"
    return f"CAST(CAST({row}.policy AS json) #>> '{{limit,{key}}}' AS numeric)"


def fence_sqlite(fence: Fence, refused: str) -> list[str]:
    return [
        f"CREATE TRIGGER {fence.name} BEFORE {fence.event} ON {fence.table} WHEN {refused} "
        f"BEGIN SELECT RAISE(ABORT, '{fence.message}'); END"
    ]


def fence_postgresql(fence: Fence, refused: str) -> list[str]:
    kept = "OLD" if fence.event == "DELETE" else "NEW"
    return [
        f"CREATE FUNCTION {fence.name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {refused} THEN RAISE EXCEPTION '{fence.message}' USING ERRCODE = 'check_violation'; "
        f"END IF; RETURN {kept}; END $$",
        f"CREATE TRIGGER {fence.name} BEFORE {fence.event} ON {fence.table} "
        f"FOR EACH ROW EXECUTE FUNCTION {fence.name}()",
    ]


def downgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for fence in FENCES:
        on_table = "" if is_sqlite else f" ON {fence.table}"
        op.execute(f"DROP TRIGGER {fence.name}{on_table}")
        if not is_sqlite:
            op.execute(f"DROP FUNCTION {fence.name}()")
