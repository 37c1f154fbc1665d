"""publish in the chain: a kind of entry for what others may read (L4)

Revision ID: 0022
Revises: 0021
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CONSTRAINT = "ck_entries_kind"
BEFORE = (
    "kind IN ('opened', 'reserved', 'posted', 'voided', 'opening', 'refreshed', 'raised',"
    " 'lowered', 'frozen', 'thawed', 'closed', 'transferred', 'rate_limited')"
)
AFTER = BEFORE.replace("'rate_limited'", "'rate_limited', 'published'")


def upgrade() -> None:
    change_kinds(BEFORE, AFTER)


def downgrade() -> None:
    """Fails where a chain has such an entry: entries are never dropped."""
    change_kinds(AFTER, BEFORE)


def change_kinds(old: str, new: str) -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint(op.f(CONSTRAINT), "entries", type_="check")
        op.create_check_constraint(op.f(CONSTRAINT), "entries", new)
        return
    copy_on_sqlite(old, new)


def copy_on_sqlite(old: str, new: str) -> None:
    """A CHECK cannot be changed there: the table is made anew by its own words, rows and all.

    Its indexes and fences go with the old table and are made again as they were (R21). Alembic's
    batch copy would lose every CHECK and every trigger.
    """
    connection = op.get_bind()

    def words(kinds: str) -> list[str]:
        rows = connection.execute(
            sa.text(
                f"SELECT sql FROM sqlite_master WHERE tbl_name = 'entries' AND type IN ({kinds})"
                " AND sql IS NOT NULL ORDER BY rowid"
            )
        )
        return [row.sql for row in rows]

    table, beside = words("'table'")[0], words("'index', 'trigger'")
    # a table that was renamed has its name in quotes
    head, body = table.split("(", 1)
    if body.count(old) != 1 or head.replace('"', "").split() != ["CREATE", "TABLE", "entries"]:
        raise RuntimeError("the table of entries is not the one that this migration knows")
    for statement in (
        f"CREATE TABLE entries_anew ({body.replace(old, new)}",
        "INSERT INTO entries_anew SELECT * FROM entries",
        "DROP TABLE entries",
        "ALTER TABLE entries_anew RENAME TO entries",
        *beside,
    ):
        # as it is: a colon in it is no parameter
        op.execute(sa.text(statement.replace(":", r"\:")))
