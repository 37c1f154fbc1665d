"""name the fences' schema: no table of a role's own is found in place of the ledger's (R21)

PostgreSQL looks for a table among the caller's temporary ones first, unless told otherwise. A
service's role could so answer the questions that a fence asks, and have what counts standing, which
runs as the owner of the tables, fire a trigger of its own.

Revision ID: 0008
Revises: 0007
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

AS_OWNER = "count_standing"
FENCES = """
    SELECT DISTINCT quote_ident(p.proname) AS name, quote_ident(n.nspname) AS schema
    FROM pg_trigger t
    JOIN pg_class c ON c.oid = t.tgrelid
    JOIN pg_proc p ON p.oid = t.tgfoid
    JOIN pg_namespace n ON n.oid = p.pronamespace AND n.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND n.nspname = current_schema()
"""


def upgrade() -> None:
    for name, schema in fences():
        op.execute(f"ALTER FUNCTION {schema}.{name}() SET search_path TO {schema}, pg_temp")


def downgrade() -> None:
    for name, schema in fences():
        before = "SET search_path FROM CURRENT" if name == AS_OWNER else "RESET search_path"
        op.execute(f"ALTER FUNCTION {schema}.{name}() {before}")


def fences() -> list[tuple[str, str]]:
    """The functions of this schema's triggers; SQLite has none, and no such search."""
    if op.get_bind().dialect.name != "postgresql":
        return []
    return [(row.name, row.schema) for row in op.get_bind().execute(sa.text(FENCES))]
