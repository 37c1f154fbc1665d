"""count what look-ups rest on: a number that moves with every right, scope and dataset (L5)

Revision ID: 0007
Revises: 0006
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# by table: which events move the number. A balance moves nothing, nor does a period that opens.
WATCHED = {
    "principals": ("UPDATE", "DELETE"),
    "api_keys": ("UPDATE", "DELETE"),
    "project_members": ("INSERT", "UPDATE", "DELETE"),
    "dataset_grants": ("INSERT", "UPDATE", "DELETE"),
    "datasets": ("UPDATE", "DELETE"),
    "dataset_versions": ("INSERT", "UPDATE", "DELETE"),
    "budgets": ("INSERT", "UPDATE", "DELETE"),
}
STANDING_COLUMNS = (
    "parent_id, kind, state, policy, holder_project_id, expires_at, "
    '"window", rate_limits, opened_at'
)
BUDGETS_ONLY = {
    "INSERT": "NEW.kind <> 'period'",
    "UPDATE": "NEW.kind <> 'period'",
    "DELETE": "OLD.kind <> 'period'",
}
COUNT = "UPDATE standing SET changes = changes + 1"


def upgrade() -> None:
    op.create_table(
        "standing",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_standing_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_standing")),
    )
    op.execute("INSERT INTO standing (id, changes) VALUES (1, 0)")
    if op.get_bind().dialect.name == "postgresql":
        # as whoever owns the table: a service's own role may not write here
        op.execute(
            "CREATE FUNCTION count_standing() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
            f" SET search_path FROM CURRENT AS $$ BEGIN {COUNT}; RETURN NULL; END $$"
        )
    for table, events in WATCHED.items():
        for event in events:
            count_after(table, event)


def downgrade() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    for table, events in WATCHED.items():
        for event in events:
            owner = f" ON {table}" if is_postgresql else ""
            op.execute(f"DROP TRIGGER {trigger(table, event)}{owner}")
    if is_postgresql:
        op.execute("DROP FUNCTION count_standing()")
    op.drop_table("standing")


def trigger(table: str, event: str) -> str:
    return f"{table}_{event.lower()}_counts"


def count_after(table: str, event: str) -> None:
    """One trigger.

    On PostgreSQL it waits for the commit: a transaction then takes the row of the number after all
    of its other locks, so that two of them never wait for each other.
    """
    columns = f" OF {STANDING_COLUMNS}" if (table, event) == ("budgets", "UPDATE") else ""
    when = f" WHEN ({BUDGETS_ONLY[event]})" if table == "budgets" else ""
    name = trigger(table, event)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE CONSTRAINT TRIGGER {name} AFTER {event}{columns} ON {table}"
            f" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW{when} EXECUTE FUNCTION count_standing()"
        )
    else:
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event}{columns} ON {table}"
            f" FOR EACH ROW{when} BEGIN {COUNT}; END"
        )
