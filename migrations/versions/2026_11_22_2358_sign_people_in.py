"""sign people in: sessions, passwords, invitations, and what slows guessing

Revision ID: 0016
Revises: 0015
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# a session that is seen moves nothing; one that ends does, as a key does (migration 0007)
TRIGGER = "browser_sessions_end_counts"


def time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "browser_sessions",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("way", sa.String(10), nullable=False),
        time("created_at"),
        time("seen_at"),
        time("expires_at"),
        time("ended_at", nullable=True),
        sa.Column("ended_because", sa.String(40)),
        sa.CheckConstraint(
            "length(secret_sha256) = 64", name=op.f("ck_browser_sessions_secret_is_a_digest")
        ),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (ended_because IS NULL)",
            name=op.f("ck_browser_sessions_ended_for_a_reason"),
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principals.id"],
            name=op.f("fk_browser_sessions_principal_id_principals"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_browser_sessions")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_browser_sessions_secret_sha256")),
    )
    op.create_index(op.f("ix_browser_sessions_principal_id"), "browser_sessions", ["principal_id"])
    op.create_table(
        "local_accounts",
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        time("changed_at"),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principals.id"],
            name=op.f("fk_local_accounts_principal_id_principals"),
        ),
        sa.PrimaryKeyConstraint("principal_id", name=op.f("pk_local_accounts")),
    )
    op.create_table(
        "invitations",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("invited_by", sa.Uuid(), nullable=False),
        time("created_at"),
        time("expires_at"),
        time("used_at", nullable=True),
        sa.CheckConstraint(
            "length(secret_sha256) = 64", name=op.f("ck_invitations_secret_is_a_digest")
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principals.id"],
            name=op.f("fk_invitations_principal_id_principals"),
        ),
        sa.ForeignKeyConstraint(
            ["invited_by"], ["principals.id"], name=op.f("fk_invitations_invited_by_principals")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
    )
    op.create_index(op.f("ix_invitations_principal_id"), "invitations", ["principal_id"])
    op.create_table(
        "sign_in_failures",
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("subject_sha256", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        time("last_at"),
        time("blocked_until", nullable=True),
        sa.CheckConstraint("kind IN ('name', 'address')", name=op.f("ck_sign_in_failures_kind")),
        sa.PrimaryKeyConstraint("kind", "subject_sha256", name=op.f("pk_sign_in_failures")),
    )
    op.create_index(op.f("ix_sign_in_failures_last_at"), "sign_in_failures", ["last_at"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE CONSTRAINT TRIGGER {TRIGGER} AFTER UPDATE OF ended_at ON browser_sessions"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_standing()"
        )
    else:
        op.execute(
            f"CREATE TRIGGER {TRIGGER} AFTER UPDATE OF ended_at ON browser_sessions"
            " FOR EACH ROW BEGIN UPDATE standing SET changes = changes + 1; END"
        )


def downgrade() -> None:
    # the triggers of a table go with it
    for table in ("sign_in_failures", "invitations", "local_accounts", "browser_sessions"):
        op.drop_table(table)
