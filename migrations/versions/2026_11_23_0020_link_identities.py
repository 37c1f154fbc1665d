"""link identities: who somebody is at a provider, and codes for programs on his own machine

Revision ID: 0018
Revises: 0017
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "linked_identities",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("issuer", sa.String(500), nullable=False),
        sa.Column("subject", sa.String(255)),
        sa.Column("email", sa.String(320)),
        sa.Column("linked_by", sa.Uuid(), nullable=False),
        time("created_at"),
        time("bound_at", nullable=True),
        sa.CheckConstraint(
            "subject IS NOT NULL OR email IS NOT NULL",
            name=op.f("ck_linked_identities_names_somebody"),
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principals.id"],
            name=op.f("fk_linked_identities_principal_id_principals"),
        ),
        sa.ForeignKeyConstraint(
            ["linked_by"],
            ["principals.id"],
            name=op.f("fk_linked_identities_linked_by_principals"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_linked_identities")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_linked_identities_issuer_subject")),
        sa.UniqueConstraint("issuer", "email", name=op.f("uq_linked_identities_issuer_email")),
    )
    op.create_index(
        op.f("ix_linked_identities_principal_id"), "linked_identities", ["principal_id"]
    )
    op.create_table(
        "loopback_grants",
        sa.Column("code_sha256", sa.String(64), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("challenge", sa.String(43), nullable=False),
        time("expires_at"),
        time("used_at", nullable=True),
        sa.CheckConstraint(
            "length(code_sha256) = 64", name=op.f("ck_loopback_grants_code_is_a_digest")
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principals.id"],
            name=op.f("fk_loopback_grants_principal_id_principals"),
        ),
        sa.PrimaryKeyConstraint("code_sha256", name=op.f("pk_loopback_grants")),
    )
    op.create_index(op.f("ix_loopback_grants_principal_id"), "loopback_grants", ["principal_id"])


def downgrade() -> None:
    op.drop_table("loopback_grants")
    op.drop_table("linked_identities")
