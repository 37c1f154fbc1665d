"""open databases: connections to live tables beside folders

Revision ID: 0010
Revises: 0009
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CONSTRAINT = "ck_connections_kind"
BEFORE = "kind IN ('folder')"
AFTER = "kind IN ('folder', 'sqlite', 'postgresql')"


def upgrade() -> None:
    change_kinds(BEFORE, AFTER)


def downgrade() -> None:
    """Fails where a database was opened: its datasets would lead nowhere."""
    change_kinds(AFTER, BEFORE)


def change_kinds(old: str, new: str) -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint(op.f(CONSTRAINT), "connections", type_="check")
        op.create_check_constraint(op.f(CONSTRAINT), "connections", new)
        return
    words = sa.text("SELECT sql FROM sqlite_master WHERE name = 'connections'")
    table = op.get_bind().execute(words).scalar_one()
    if table.count(old) != 1:
        raise RuntimeError("the table of connections is not the one that this migration knows")
    for statement in (
        # versions point at connections: what they miss for a moment is looked at in the end
        "PRAGMA defer_foreign_keys = ON",
        "CREATE TABLE connections_kept AS SELECT * FROM connections",
        "DROP TABLE connections",
        table.replace(old, new),
        "INSERT INTO connections SELECT * FROM connections_kept",
        "DROP TABLE connections_kept",
    ):
        op.execute(sa.text(statement))
