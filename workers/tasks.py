"""Celery tasks: a task carries an id, may arrive twice, and decides nothing."""

from uuid import UUID

from app.domain import tasks
from app.logs import about
from app.services import plans, report_building
from workers.celery_app import app
from workers.context import context
from workers.running import run_job


@app.task(name=tasks.RUN_JOB)
def run(job_id: str) -> None:
    """Run a queued job, if nobody else has it."""
    run_job(context(), UUID(job_id))


@app.task(name=tasks.COMPOSE_PLAN)
def compose_plan(budget_id: str) -> None:
    """Compose a proposed plan, if nobody has yet (R10)."""
    with about(budget_id=budget_id):
        plans.compose(context().make_session, UUID(budget_id))


@app.task(name=tasks.BUILD_REPORT)
def build_report(report_id: str) -> None:
    """Build a report on its checkpoint, if nobody else has it; another process signs it (R23)."""
    held = context()
    with about(report_id=report_id):
        report_building.build(
            held.make_session,
            UUID(report_id),
            owner=held.owner,
            terms_file=held.settings.report_terms_file,
            embedded=held.settings.embedded,
        )
