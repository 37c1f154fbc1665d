"""purge what is retired: what jobs released is deleted with an entry, and its loss stays (R20)

Revision ID: 0025
Revises: 0024
"""

from collections.abc import Sequence
from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# how a kind is added on either database; its name begins with a digit
earlier = import_module("migrations.versions.2026_11_23_0400_publish_in_the_chain")
BEFORE = earlier.AFTER
AFTER = BEFORE.replace("'published'", "'published', 'purged'")
TABLES = ("datasets", "results")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True))
    earlier.change_kinds(BEFORE, AFTER)


def downgrade() -> None:
    """Fails where a chain has such an entry: entries are never dropped."""
    earlier.change_kinds(AFTER, BEFORE)
    for table in TABLES:
        op.drop_column(table, "purged_at")
