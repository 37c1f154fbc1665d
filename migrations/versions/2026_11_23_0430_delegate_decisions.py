"""delegate decisions: who decides in whose place, held by the database too (L10, R19)

Revision ID: 0023
Revises: 0022
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLE = "delegations"
TWO_PEOPLE = "ck_approvals_on_behalf_of_a_third"
# neither in one's own place, nor in that of whoever asked: else one person would be both sides
ON_BEHALF = (
    "on_behalf_of IS NULL OR (decided_by IS NOT NULL AND on_behalf_of <> decided_by"
    " AND on_behalf_of <> requested_by)"
)
OFFICER = (
    "EXISTS (SELECT 1 FROM principals p WHERE p.id = {who} AND p.active"
    " AND p.roles LIKE '%\"compliance_officer\"%')"
)
# name, table, event, what is refused as SQL over OLD and NEW, and how it is said
FENCES = (
    (
        "delegations_begin_open",
        TABLE,
        "INSERT",
        "NEW.ended_at IS NOT NULL",
        "a delegation begins open",
    ),
    (
        "delegations_between_officers",
        TABLE,
        "INSERT",
        f"NOT ({OFFICER.format(who='NEW.delegator_id')}"
        f" AND {OFFICER.format(who='NEW.delegate_id')})",
        "an officer delegates to an officer",
    ),
    (
        "delegations_only_end",
        TABLE,
        "UPDATE",
        "OLD.ended_at IS NOT NULL OR NEW.id <> OLD.id OR NEW.delegator_id <> OLD.delegator_id"
        " OR NEW.delegate_id <> OLD.delegate_id OR NEW.starts_at <> OLD.starts_at"
        " OR NEW.ends_at <> OLD.ends_at OR NEW.reason <> OLD.reason OR NEW.made_at <> OLD.made_at",
        "a delegation is ended, once, and not changed",
    ),
    ("delegations_stay", TABLE, "DELETE", "1 = 1", "a delegation stays"),
    (
        "approvals_on_behalf_in_force",
        "approvals",
        "UPDATE",
        "NEW.on_behalf_of IS NOT NULL AND NOT ("
        f"{OFFICER.format(who='NEW.on_behalf_of')}"
        f" AND EXISTS (SELECT 1 FROM {TABLE} d WHERE d.delegator_id = NEW.on_behalf_of"
        " AND d.delegate_id = NEW.decided_by AND d.ended_at IS NULL"
        " AND d.starts_at <= NEW.decided_at AND d.ends_at > NEW.decided_at))",
        "a decision for somebody else takes a delegation in force",
    ),
)


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("delegator_id", sa.Uuid(), nullable=False),
        sa.Column("delegate_id", sa.Uuid(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("ended_by", sa.Uuid()),
        sa.CheckConstraint("delegator_id <> delegate_id", name=op.f("ck_delegations_two_people")),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_delegations_ends_after_it_starts")),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (ended_by IS NULL)",
            name=op.f("ck_delegations_ended_by_somebody"),
        ),
        *(
            sa.ForeignKeyConstraint(
                [column], ["principals.id"], name=op.f(f"fk_delegations_{column}_principals")
            )
            for column in ("delegator_id", "delegate_id", "ended_by")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delegations")),
    )
    for column in ("delegator_id", "delegate_id"):
        op.create_index(op.f(f"ix_delegations_{column}"), TABLE, [column])
    kind = "CHAR(32)" if is_sqlite() else "UUID"
    # as words: a batch copy of Alembic's would lose every CHECK and every fence of the table
    op.execute(
        f"ALTER TABLE approvals ADD COLUMN on_behalf_of {kind}"
        " CONSTRAINT fk_approvals_on_behalf_of_principals REFERENCES principals (id)"
        f" CONSTRAINT {TWO_PEOPLE} CHECK ({ON_BEHALF})"
    )
    for name, table, event, refused, message in FENCES:
        for statement in fence(name, table, event, refused, message):
            op.execute(sa.text(statement.replace(":", r"\:")))


def downgrade() -> None:
    for name, table, *_ in FENCES:
        op.execute(f"DROP TRIGGER {name}" if is_sqlite() else f"DROP TRIGGER {name} ON {table}")
        if not is_sqlite():
            op.execute(f"DROP FUNCTION {name}()")
    op.execute("ALTER TABLE approvals DROP COLUMN on_behalf_of")
    op.drop_table(TABLE)


def is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def fence(name: str, table: str, event: str, refused: str, message: str) -> list[str]:
    if is_sqlite():
        return [
            f"CREATE TRIGGER {name} BEFORE {event} ON {table} WHEN {refused} "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        ]
    kept = "OLD" if event == "DELETE" else "NEW"
    # a temporary table of the caller's must not stand before ours
    schema = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    return [
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {refused} THEN RAISE EXCEPTION '{message}' USING ERRCODE = 'check_violation'; "
        f"END IF; RETURN {kept}; END $$",
        f"ALTER FUNCTION {name}() SET search_path TO {schema}, pg_temp",
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
    ]
