"""keep reports: what a worker builds and the ledger's key signs, and what people attest to

Revision ID: 0017
Revises: 0016
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ABOUT_ONE_THING = (
    "(CASE WHEN job_id IS NULL THEN 0 ELSE 1 END)"
    " + (CASE WHEN budget_id IS NULL THEN 0 ELSE 1 END)"
    " + (CASE WHEN report_id IS NULL THEN 0 ELSE 1 END) = 1"
)
GROWING = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def points(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    other, key = target.split(".")
    return sa.ForeignKeyConstraint(
        [column], [f"{other}.{key}"], name=f"fk_{table}_{column}_{other}"
    )


def upgrade() -> None:
    # added in place: a table that is copied would lose its triggers
    op.add_column("reservations", time("touched_at", nullable=True))
    op.create_table(
        "attestations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("person_name", sa.String(200), nullable=False),
        sa.Column("role", sa.String(40), nullable=False),
        time("made_at"),
        time("expires_at"),
        time("revoked_at", nullable=True),
        sa.Column("revoked_by", sa.Uuid()),
        sa.Column("signature", sa.String(100), nullable=False),
        sa.Column("signed_by", sa.String(64), nullable=False),
        sa.CheckConstraint(
            "expires_at > made_at", name=op.f("ck_attestations_ends_after_it_began")
        ),
        sa.CheckConstraint(
            "(revoked_at IS NULL) = (revoked_by IS NULL)",
            name=op.f("ck_attestations_revoked_by_somebody"),
        ),
        points("attestations", "dataset_id", "datasets.id"),
        points("attestations", "person_id", "principals.id"),
        points("attestations", "revoked_by", "principals.id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attestations")),
    )
    op.create_index(op.f("ix_attestations_dataset_id"), "attestations", ["dataset_id"])
    op.create_table(
        "reports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("checkpoint_seq", GROWING, nullable=False),
        sa.Column("builder", sa.String(80), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(200)),
        time("lease_until", nullable=True),
        sa.Column("document", sa.LargeBinary()),
        sa.Column("sha256", sa.String(64)),
        sa.Column("failure_code", sa.String(60)),
        sa.Column("requested_by", sa.Uuid(), nullable=False),
        time("requested_at"),
        time("finished_at", nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'ready', 'failed')", name=op.f("ck_reports_state")
        ),
        sa.CheckConstraint(
            "(state = 'ready') = (sha256 IS NOT NULL)", name=op.f("ck_reports_ready_has_a_hash")
        ),
        sa.CheckConstraint(
            "state <> 'ready' OR document IS NOT NULL",
            name=op.f("ck_reports_ready_has_a_document"),
        ),
        sa.CheckConstraint(
            "(state = 'failed') = (failure_code IS NOT NULL)",
            name=op.f("ck_reports_failed_says_why"),
        ),
        sa.CheckConstraint(
            "state <> 'running' OR (lease_until IS NOT NULL) <> (document IS NOT NULL)",
            name=op.f("ck_reports_running_has_lease_until_built"),
        ),
        points("reports", "dataset_id", "datasets.id"),
        points("reports", "checkpoint_seq", "checkpoints.seq"),
        points("reports", "requested_by", "principals.id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reports")),
    )
    op.create_index(op.f("ix_reports_dataset_id"), "reports", ["dataset_id"])
    op.create_index("ix_reports_state_lease_until", "reports", ["state", "lease_until"])
    op.create_index(
        "uq_reports_one_of_a_kind",
        "reports",
        ["dataset_id", "checkpoint_seq", "builder"],
        unique=True,
        sqlite_where=sa.text("state <> 'failed'"),
        postgresql_where=sa.text("state <> 'failed'"),
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.add_column(sa.Column("report_id", sa.Uuid(), nullable=True))
        batch_op.create_index(batch_op.f("ix_outbox_report_id"), ["report_id"], unique=False)
        batch_op.create_foreign_key(
            batch_op.f("fk_outbox_report_id_reports"), "reports", ["report_id"], ["id"]
        )
        batch_op.drop_constraint(batch_op.f("ck_outbox_about_one_job_or_budget"), type_="check")
        batch_op.create_check_constraint(batch_op.f("ck_outbox_about_one_thing"), ABOUT_ONE_THING)


def downgrade() -> None:
    op.execute("DELETE FROM outbox WHERE report_id IS NOT NULL")
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("ck_outbox_about_one_thing"), type_="check")
        batch_op.drop_constraint(batch_op.f("fk_outbox_report_id_reports"), type_="foreignkey")
        batch_op.drop_index(batch_op.f("ix_outbox_report_id"))
        batch_op.drop_column("report_id")
        batch_op.create_check_constraint(
            batch_op.f("ck_outbox_about_one_job_or_budget"),
            "(job_id IS NULL) <> (budget_id IS NULL)",
        )
    op.drop_table("reports")
    op.drop_table("attestations")
    op.drop_column("reservations", "touched_at")
