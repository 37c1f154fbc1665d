"""divide into blocks: what each holds beside a budget's sums, and which are closed (R8)

Revision ID: 0005
Revises: 0004
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# name, table, event, what is refused (over OLD and NEW, the same on both databases), the message
FENCES = (
    (
        "budgets_blocks_as_above",
        "budgets",
        "INSERT",
        "NEW.parent_id IS NOT NULL AND EXISTS (SELECT 1 FROM budgets p WHERE p.id = NEW.parent_id"
        " AND (p.block_sums IS NULL) <> (NEW.block_sums IS NULL))",
        "a scope has blocks where the scope above it has",
    ),
    (
        "budgets_blocks_stay",
        "budgets",
        "UPDATE OF block_sums",
        "(NEW.block_sums IS NULL) <> (OLD.block_sums IS NULL)",
        "blocks are declared once",
    ),
    (
        "dataset_versions_close_forward",
        "dataset_versions",
        "INSERT",
        "NEW.closed_blocks < 0 OR EXISTS (SELECT 1 FROM dataset_versions v"
        " WHERE v.dataset_id = NEW.dataset_id AND v.version < NEW.version"
        " AND v.closed_blocks > NEW.closed_blocks)",
        "a closed block stays closed",
    ),
    (
        "dataset_versions_stay",
        "dataset_versions",
        "UPDATE",
        "1 = 1",
        "a version stays as it was registered",
    ),
)


def upgrade() -> None:
    op.add_column("budgets", sa.Column("block_sums", sa.LargeBinary(), nullable=True))
    op.add_column(
        "dataset_versions",
        sa.Column("closed_blocks", sa.Integer(), nullable=False, server_default="0"),
    )
    op.add_column("dataset_versions", sa.Column("sha256", sa.String(64), nullable=True))
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for name, table, event, refused, message in FENCES:
        if is_sqlite:
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {event} ON {table} WHEN {refused} "
                f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
            )
            continue
        op.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF {refused} THEN RAISE EXCEPTION '{message}' USING ERRCODE = 'check_violation'; "
            "END IF; RETURN NEW; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {event} ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {name}()"
        )


def downgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for name, table, *_ in FENCES:
        op.execute(f"DROP TRIGGER {name}{'' if is_sqlite else f' ON {table}'}")
        if not is_sqlite:
            op.execute(f"DROP FUNCTION {name}()")
    op.drop_column("dataset_versions", "sha256")
    op.drop_column("dataset_versions", "closed_blocks")
    op.drop_column("budgets", "block_sums")
