"""Alembic's entry: one connection handed in by `app.db.migrate`, one transaction a run."""

from typing import Any, Literal

from alembic import context

from app.db.models import Base
from app.db.models.base import JsonText, LossText, PlanUnitsText, UtcDateTime


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """A migration names plain types: it must run as written when our own types have moved on."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, JsonText | LossText | PlanUnitsText):
        return "sa.Text()"
    return False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,
    render_item=render_item,
    compare_type=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
