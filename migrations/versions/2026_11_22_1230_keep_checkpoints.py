"""keep checkpoints, and what the database was found to have forgotten (L3, R21, R22)

Revision ID: 0004
Revises: 0003
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SETTLED = (
    "EXISTS (SELECT 1 FROM approvals a WHERE a.id = NEW.approval_id"
    " AND a.budget_id = OLD.budget_id AND a.state = 'used' AND a.action = 'recovery')"
)
# name, table, event, what is refused (over OLD and NEW, the same on both databases), the message
FENCES = (
    (
        "discrepancies_begin_open",
        "discrepancies",
        "INSERT",
        "NEW.approval_id IS NOT NULL",
        "a discrepancy begins unsettled",
    ),
    (
        "discrepancies_settled_by_two",
        "discrepancies",
        "UPDATE",
        "OLD.approval_id IS NOT NULL OR NEW.id <> OLD.id OR NEW.budget_id <> OLD.budget_id"
        " OR NEW.evidence <> OLD.evidence OR NEW.evidence_sha256 <> OLD.evidence_sha256"
        f" OR NEW.found_at <> OLD.found_at OR NOT {SETTLED}",
        "a discrepancy is settled once, by two people",
    ),
    ("discrepancies_stay", "discrepancies", "DELETE", "1 = 1", "a discrepancy stays"),
    (
        "budgets_settled_before_thaw",
        "budgets",
        "UPDATE OF state",
        "NEW.state = 'open' AND OLD.state <> 'open' AND EXISTS (SELECT 1 FROM discrepancies d"
        " WHERE d.budget_id = OLD.id AND d.approval_id IS NULL)",
        "what was forgotten is put right before a root thaws",
    ),
)


def upgrade() -> None:
    op.create_table(
        "checkpoints",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=100), nullable=False),
        sa.Column("heads", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("seq >= 1", name=op.f("ck_checkpoints_seq_counts_from_one")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_checkpoints")),
        sa.UniqueConstraint("hash", name=op.f("uq_checkpoints_hash")),
    )
    op.create_table(
        "discrepancies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("budget_id", sa.Uuid(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("evidence_sha256", sa.String(length=64), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("approval_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["approval_id"], ["approvals.id"], name=op.f("fk_discrepancies_approval_id_approvals")
        ),
        sa.ForeignKeyConstraint(
            ["budget_id"], ["budgets.id"], name=op.f("fk_discrepancies_budget_id_budgets")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_discrepancies")),
        sa.UniqueConstraint(
            "budget_id", "evidence_sha256", name=op.f("uq_discrepancies_budget_id_evidence_sha256")
        ),
    )
    op.create_index(op.f("ix_discrepancies_budget_id"), "discrepancies", ["budget_id"])
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    make = fence_sqlite if is_sqlite else fence_postgresql
    (keep_sqlite if is_sqlite else keep_postgresql)()
    for fence in FENCES:
        for statement in make(*fence):
            op.execute(sa.text(statement))


def keep_sqlite() -> None:
    refuse = "SELECT RAISE(ABORT, 'checkpoints is append-only')"
    same = "seq = NEW.seq OR hash = NEW.hash"
    op.execute(
        f"CREATE TRIGGER checkpoints_no_update BEFORE UPDATE ON checkpoints BEGIN {refuse}; END"
    )
    op.execute(
        f"CREATE TRIGGER checkpoints_no_delete BEFORE DELETE ON checkpoints BEGIN {refuse}; END"
    )
    # INSERT OR REPLACE would delete the old row first; it is refused before it gets there
    op.execute(
        "CREATE TRIGGER checkpoints_no_replace BEFORE INSERT ON checkpoints "
        f"WHEN EXISTS (SELECT 1 FROM checkpoints WHERE {same}) BEGIN {refuse}; END"
    )


def keep_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION checkpoints_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'checkpoints is append-only'; END $$"
    )
    for event, level in (("UPDATE", "ROW"), ("DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
        op.execute(
            f"CREATE TRIGGER checkpoints_no_{event.lower()} BEFORE {event} ON checkpoints "
            f"FOR EACH {level} EXECUTE FUNCTION checkpoints_append_only()"
        )


def fence_sqlite(name: str, table: str, event: str, refused: str, message: str) -> list[str]:
    return [
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} WHEN {refused} "
        f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
    ]


def fence_postgresql(name: str, table: str, event: str, refused: str, message: str) -> list[str]:
    kept = "OLD" if event == "DELETE" else "NEW"
    return [
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {refused} THEN RAISE EXCEPTION '{message}' USING ERRCODE = 'check_violation'; "
        f"END IF; RETURN {kept}; END $$",
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
    ]


def downgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for name, table, *_ in FENCES:
        op.execute(f"DROP TRIGGER {name}" + ("" if is_sqlite else f" ON {table}"))
        if not is_sqlite:
            op.execute(f"DROP FUNCTION {name}()")
    op.drop_index(op.f("ix_discrepancies_budget_id"), table_name="discrepancies")
    op.drop_table("discrepancies")
    op.drop_table("checkpoints")
    if not is_sqlite:
        op.execute("DROP FUNCTION checkpoints_append_only()")
