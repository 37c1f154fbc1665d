"""name releases: what a job's result answers again, and the public versions it reads (L2)

Revision ID: 0009
Revises: 0008
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Jobs from before have neither: none of them answers another, and they read what is latest."""
    op.add_column("jobs", sa.Column("release_sha256", sa.String(64), nullable=True))
    op.add_column("jobs", sa.Column("public_versions", sa.Text(), nullable=True))
    op.create_index(op.f("ix_jobs_release_sha256"), "jobs", ["release_sha256"])


def downgrade() -> None:
    op.drop_index(op.f("ix_jobs_release_sha256"), "jobs")
    op.drop_column("jobs", "public_versions")
    op.drop_column("jobs", "release_sha256")
