"""let people leave: when they did, and what a key is kept to

Revision ID: 0015
Revises: 0014
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # added in place: a table that is copied would lose its triggers
    op.add_column("principals", sa.Column("deactivated_at", sa.DateTime(timezone=True)))
    op.add_column("api_keys", sa.Column("rights", sa.Text()))


def downgrade() -> None:
    op.drop_column("api_keys", "rights")
    op.drop_column("principals", "deactivated_at")
