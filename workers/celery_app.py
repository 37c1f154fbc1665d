"""The worker's side of the broker. A message is a job id and a wake-up; the database is the truth.

Late acknowledgement is right here because a claim is exclusive: a message that arrives twice is
refused by its fence. Results and progress live in the database, so there is no result backend.
"""

import os
import socket

from celery import Celery
from celery.signals import setup_logging, worker_process_init, worker_ready

from app import logs
from app.db.session import make_engine, make_session_maker
from app.dispatch.broker import transport_options
from app.services.beats import Beats
from app.settings import Settings
from workers import examining, stopping

QUEUES = ("cpu", "gpu", "reports")

# A worker told to stop lets a chunk end for this long, and the job is handed back where it ends in
# time; else it is queued again when its lease is over.
SOFT_SHUTDOWN_S = 3.0


def make_celery(settings: Settings) -> Celery:
    """The Celery app of a worker: one message at a time, acknowledged when its task has ended."""
    celery = Celery("epsilon_ledger", broker=settings.broker_url)
    celery.conf.update(
        imports=("workers.tasks",),
        task_default_queue=QUEUES[0],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_soft_shutdown_timeout=SOFT_SHUTDOWN_S,
        # A lost connection is no reason to stop a run: its lease says whether it may go on.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=False,
        broker_transport_options=transport_options(),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
    )
    return celery


def _log(**_: object) -> None:
    settings = Settings.from_environment(os.environ)
    logs.configure(settings.log_level, settings.log_format, program="worker")


def _hear_stops(**_: object) -> None:
    # Celery's own handlers stand by now, and its pool was forked with the shared byte
    stopping.ask_at_signals()


def _examine_models(**_: object) -> None:
    examining.examine_beside()


def _beat(**_: object) -> None:
    # in the process that runs jobs: Celery's parent misses signals that come while another thread
    # of it is at work, and then never stops
    settings = Settings.from_environment(os.environ)
    Beats(
        make_session_maker(make_engine(settings.database_url)),
        f"{socket.gethostname()}:{os.getpid()}"[:200],
        sorted(app.amqp.queues.consume_from),
    ).start()


setup_logging.connect(_log)
worker_ready.connect(_hear_stops)
worker_ready.connect(_examine_models)
worker_process_init.connect(_beat)
app = make_celery(Settings.from_environment(os.environ))
