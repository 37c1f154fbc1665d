"""open buckets: connections to object stores, the name of their keys beside their address

Revision ID: 0012
Revises: 0011
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

KINDS = "ck_connections_kind"
STORE = "ck_connections_store_if_s3"
BEFORE = "kind IN ('folder', 'sqlite', 'postgresql')"
AFTER = "kind IN ('folder', 'sqlite', 'postgresql', 's3')"
HAS_STORE = (
    "(kind = 's3') = (endpoint IS NOT NULL) AND (endpoint IS NULL) = (region IS NULL)"
    " AND (region IS NULL) = (credentials IS NULL)"
)
COLUMNS = (("endpoint", 300), ("region", 63), ("credentials", 1000))


def upgrade() -> None:
    for name, length in COLUMNS:
        op.add_column("connections", sa.Column(name, sa.String(length), nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        store = f", CONSTRAINT {STORE} CHECK ({HAS_STORE})"
        make_anew({f"CHECK ({BEFORE})": f"CHECK ({AFTER}){store}"})
    else:
        op.drop_constraint(op.f(KINDS), "connections", type_="check")
        op.create_check_constraint(op.f(KINDS), "connections", AFTER)
        op.create_check_constraint(op.f(STORE), "connections", HAS_STORE)


def downgrade() -> None:
    """Fails where a bucket was opened: its datasets would lead nowhere."""
    if op.get_bind().dialect.name == "sqlite":
        store = f", CONSTRAINT {STORE} CHECK ({HAS_STORE})"
        make_anew({store: "", AFTER: BEFORE})
    else:
        op.drop_constraint(op.f(STORE), "connections", type_="check")
        op.drop_constraint(op.f(KINDS), "connections", type_="check")
        op.create_check_constraint(op.f(KINDS), "connections", BEFORE)
    for name, _ in COLUMNS:
        op.drop_column("connections", name)


def make_anew(words: dict[str, str]) -> None:
    """A CHECK cannot be changed there: the table is made anew by its own words, rows and all."""
    found = sa.text("SELECT sql FROM sqlite_master WHERE name = 'connections'")
    table = op.get_bind().execute(found).scalar_one()
    for old, new in words.items():
        if table.count(old) != 1:
            raise RuntimeError("the table of connections is not the one that this migration knows")
        table = table.replace(old, new)
    for statement in (
        # versions point at connections: what they miss for a moment is looked at in the end
        "PRAGMA defer_foreign_keys = ON",
        "CREATE TABLE connections_kept AS SELECT * FROM connections",
        "DROP TABLE connections",
        table,
        "INSERT INTO connections SELECT * FROM connections_kept",
        "DROP TABLE connections_kept",
    ):
        op.execute(sa.text(statement))
