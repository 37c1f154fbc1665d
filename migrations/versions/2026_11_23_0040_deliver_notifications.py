"""deliver notifications: webhooks, addresses of people, and what is on its way

Revision ID: 0019
Revises: 0018
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def refers(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=op.f(f"fk_{table}_{column}_{to}"))


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("kinds", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        time("created_at"),
        time("ended_at", nullable=True),
        sa.CheckConstraint(
            "length(secret_sha256) = 64", name=op.f("ck_webhooks_secret_is_a_digest")
        ),
        refers("webhooks", "created_by", "principals"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_table(
        "mail_addresses",
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("address", sa.String(254)),
        sa.Column("changed_by", sa.Uuid(), nullable=False),
        time("changed_at"),
        refers("mail_addresses", "principal_id", "principals"),
        refers("mail_addresses", "changed_by", "principals"),
        sa.PrimaryKeyConstraint("principal_id", name=op.f("pk_mail_addresses")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "notification_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
        ),
        sa.Column("webhook_id", sa.Uuid()),
        sa.Column("principal_id", sa.Uuid()),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failure", sa.String(40)),
        time("created_at"),
        time("due_at"),
        time("ended_at", nullable=True),
        sa.CheckConstraint(
            "state IN ('due', 'sent', 'given_up')", name=op.f("ck_deliveries_state")
        ),
        sa.CheckConstraint(
            "(state = 'due') = (ended_at IS NULL)", name=op.f("ck_deliveries_ended")
        ),
        sa.CheckConstraint(
            "(webhook_id IS NULL) <> (principal_id IS NULL)",
            name=op.f("ck_deliveries_to_one_webhook_or_person"),
        ),
        refers("deliveries", "notification_id", "notifications"),
        refers("deliveries", "webhook_id", "webhooks"),
        refers("deliveries", "principal_id", "principals"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint(
            "notification_id", "webhook_id", name=op.f("uq_deliveries_notification_id_webhook_id")
        ),
        sa.UniqueConstraint(
            "notification_id",
            "principal_id",
            name=op.f("uq_deliveries_notification_id_principal_id"),
        ),
    )
    for column in ("webhook_id", "principal_id"):
        op.create_index(op.f(f"ix_deliveries_{column}"), "deliveries", [column])
    is_due = sa.text("state = 'due'")
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["due_at"],
        sqlite_where=is_due,
        postgresql_where=is_due,
    )


def downgrade() -> None:
    for table in ("deliveries", "mail_addresses", "webhooks"):
        op.drop_table(table)
