"""take profiles: a kind of job, whose result is found by its dataset (R17)

Revision ID: 0011
Revises: 0010
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CONSTRAINT = "ck_jobs_kind"
BEFORE = "kind IN ('query', 'train')"
AFTER = "kind IN ('query', 'train', 'profile')"


def upgrade() -> None:
    change_kinds(BEFORE, AFTER)
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.add_column(sa.Column("profile_of", sa.Uuid(), nullable=True))
        batch_op.create_index(batch_op.f("ix_results_profile_of"), ["profile_of"], unique=False)
        batch_op.create_foreign_key(
            batch_op.f("fk_results_profile_of_datasets"), "datasets", ["profile_of"], ["id"]
        )


def downgrade() -> None:
    """Fails where there is such a job: what was paid for is never dropped."""
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_results_profile_of_datasets"), type_="foreignkey")
        batch_op.drop_index(batch_op.f("ix_results_profile_of"))
        batch_op.drop_column("profile_of")
    change_kinds(AFTER, BEFORE)


def change_kinds(old: str, new: str) -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint(op.f(CONSTRAINT), "jobs", type_="check")
        op.create_check_constraint(op.f(CONSTRAINT), "jobs", new)
        return
    copy_on_sqlite(old, new)


def copy_on_sqlite(old: str, new: str) -> None:
    """A CHECK cannot be changed there: the table is made anew by its own words, rows and all.

    Other tables point at its rows, so they may be without them until the transaction ends.
    Alembic's batch copy would lose every CHECK.
    """
    connection = op.get_bind()

    def words(kinds: str) -> list[str]:
        rows = connection.execute(
            sa.text(
                f"SELECT sql FROM sqlite_master WHERE tbl_name = 'jobs' AND type IN ({kinds})"
                " AND sql IS NOT NULL ORDER BY rowid"
            )
        )
        return [row.sql for row in rows]

    table, beside = words("'table'")[0], words("'index', 'trigger'")
    if table.count(old) != 1:
        raise RuntimeError("the table of jobs is not the one that this migration knows")
    for statement in (
        "PRAGMA defer_foreign_keys = ON",
        "CREATE TEMP TABLE jobs_kept AS SELECT * FROM jobs",
        "DROP TABLE jobs",
        table.replace(old, new),
        "INSERT INTO jobs SELECT * FROM temp.jobs_kept",
        "DROP TABLE temp.jobs_kept",
        *beside,
    ):
        # as it is: a colon in it is no parameter
        op.execute(sa.text(statement.replace(":", r"\:")))
