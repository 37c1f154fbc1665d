"""name what a run kept: checkpoints of a job, and how often it went silent after a touch (R14, R13)

Revision ID: 0013
Revises: 0012
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Jobs from before have kept nothing and have not gone on."""
    op.add_column("jobs", sa.Column("checkpoints", sa.Text(), nullable=True))
    op.add_column(
        "jobs", sa.Column("lapses_after_touch", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("jobs", sa.Column("lapsed_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "lapsed_at")
    op.drop_column("jobs", "lapses_after_touch")
    op.drop_column("jobs", "checkpoints")
