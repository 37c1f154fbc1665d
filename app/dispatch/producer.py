"""A bare Celery client: it sends task names and ids, and knows no task's code."""

from uuid import UUID

from celery import Celery

from app.dispatch.broker import transport_options


class Producer:
    """Sends wake-ups to one broker."""

    def __init__(self, broker_url: str) -> None:
        self._celery = Celery("epsilon-ledger-producer", broker=broker_url, set_as_current=False)
        self._celery.conf.update(
            broker_transport_options=transport_options(), task_ignore_result=True
        )

    def send(self, task: str, subject: UUID, *, queue: str, message_id: str) -> None:
        """Publish one wake-up about a job or a budget.

        Raises:
            kombu.exceptions.OperationalError: the broker cannot be reached.
        """
        self._celery.send_task(
            task, args=[str(subject)], queue=queue, task_id=message_id, retry=False
        )

    def close(self) -> None:
        """Give the connections back."""
        self._celery.close()
