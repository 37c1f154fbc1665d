"""freeze plans: units of slots beside a budget's sums, and wake-ups about budgets (R10)

Revision ID: 0003
Revises: 0002
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# name, event, what is refused (over OLD and NEW, the same on both databases), the message
FENCES = (
    (
        "budgets_plan_is_an_allocation",
        "INSERT",
        "NEW.plan_units IS NOT NULL AND NEW.kind <> 'allocation'",
        "a plan is an allocation",
    ),
    (
        "budgets_nothing_below_a_plan",
        "INSERT",
        "EXISTS (SELECT 1 FROM budgets p WHERE p.id = NEW.parent_id AND p.plan_units IS NOT NULL)",
        "nothing lies below a plan",
    ),
    (
        "budgets_plan_stays_a_plan",
        "UPDATE OF plan_units",
        "(NEW.plan_units IS NULL) <> (OLD.plan_units IS NULL)",
        "a plan stays a plan and nothing becomes one",
    ),
    (
        "budgets_plan_is_frozen",
        "UPDATE OF policy",
        "OLD.plan_units IS NOT NULL AND OLD.opened_at IS NOT NULL AND NEW.policy <> OLD.policy",
        "a plan is frozen before its first output",
    ),
)


def upgrade() -> None:
    op.add_column("budgets", sa.Column("plan_units", sa.Text(), nullable=True))
    op.add_column("budgets", sa.Column("plan_refusal", sa.Text(), nullable=True))
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.alter_column("job_id", existing_type=sa.Uuid(), nullable=True)
        batch_op.add_column(sa.Column("budget_id", sa.Uuid(), nullable=True))
        batch_op.create_index(batch_op.f("ix_outbox_budget_id"), ["budget_id"], unique=False)
        batch_op.create_foreign_key(
            batch_op.f("fk_outbox_budget_id_budgets"), "budgets", ["budget_id"], ["id"]
        )
        batch_op.create_check_constraint(
            batch_op.f("ck_outbox_about_one_job_or_budget"),
            "(job_id IS NULL) <> (budget_id IS NULL)",
        )
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for name, event, refused, message in FENCES:
        if is_sqlite:
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {event} ON budgets WHEN {refused} "
                f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
            )
            continue
        op.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF {refused} THEN RAISE EXCEPTION '{message}' USING ERRCODE = 'check_violation'; "
            "END IF; RETURN NEW; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {event} ON budgets "
            f"FOR EACH ROW EXECUTE FUNCTION {name}()"
        )


def downgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for name, *_ in FENCES:
        op.execute(f"DROP TRIGGER {name}{'' if is_sqlite else ' ON budgets'}")
        if not is_sqlite:
            op.execute(f"DROP FUNCTION {name}()")
    op.execute("DELETE FROM outbox WHERE job_id IS NULL")
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("ck_outbox_about_one_job_or_budget"), type_="check")
        batch_op.drop_constraint(batch_op.f("fk_outbox_budget_id_budgets"), type_="foreignkey")
        batch_op.drop_index(batch_op.f("ix_outbox_budget_id"))
        batch_op.drop_column("budget_id")
        batch_op.alter_column("job_id", existing_type=sa.Uuid(), nullable=False)
    op.drop_column("budgets", "plan_refusal")
    op.drop_column("budgets", "plan_units")
