"""The sender: brings deliveries to webhooks and mailboxes, again and again for a day.

One process at a time, by lease. A delivery is claimed before it is sent, so a crash in between
sends it once more under the same id, and forgets none.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import Delivery, MailAddress, Notification, Principal, Webhook
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.notices import told_facts
from app.domain.webhooks import GIVE_UP_AFTER_S, parse_url, retry_wait_s, signed_headers
from app.services import audit, mail, posting, webhook_keys
from app.services.mail import MailServer
from app.services.relay import lead
from app.services.signing import KeyRefused

log = logging.getLogger(__name__)

NAME: Final = "sender"
BATCH: Final = 50
# of one receiver in one pass: one that is silent keeps nobody else waiting
OF_ONE_MOST: Final = 5
# longer than an attempt can take: whoever claims it again knows that the first one is gone
CLAIM_S: Final = 60.0
ENDED: Final = "receiver-ended"


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that this process sends now.

    attempt: how many there were with this one; a claim of another process has a higher number.
    url, secret_sha256: of a webhook; both empty of a mail.
    address: of a person; empty of a webhook, and of somebody who is no longer written to.
    """

    id: UUID
    attempt: int
    now: datetime
    line_id: int
    kind: str
    subject: str
    facts: dict[str, Any]
    at: datetime
    webhook_id: UUID | None = None
    url: str = ""
    secret_sha256: str = ""
    address: str = ""


class Sender:
    """Sends what is due on a thread of its own.

    key_file, networks: as `Webhooks` has them. server: where mails are handed to, if anywhere.
    """

    def __init__(
        self,
        make_session: SessionMaker,
        key_file: Path,
        *,
        networks: tuple[str, ...] = (),
        server: MailServer | None = None,
        every_s: float = 1.0,
    ) -> None:
        self._make_session = make_session
        self._key_file = key_file
        self._networks = networks
        self._server = server
        self._every_s = every_s
        self._holder = uuid4().hex
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the pass under way."""
        self._stopping.set()
        self._thread.join()

    def send_due(self) -> int:
        """One pass over what is due; says how many were sent."""
        with snapshot(self._make_session) as session:
            if not _due_ids(session, now=database_now(session)):
                return 0
        with transaction(self._make_session) as session:
            now = database_now(session)
            claims = []
            if lead(session, NAME, self._holder, now=now):
                claims = _claim(session, now=now)
        failures = asyncio.run(self._attempts(claims))
        for claim, failure in zip(claims, failures, strict=True):
            with transaction(self._make_session) as session:
                _settle(session, claim, failure, now=database_now(session))
        return failures.count(None)

    async def _attempts(self, claims: Sequence[Claim]) -> list[str | None]:
        return list(await asyncio.gather(*(self._attempt(claim) for claim in claims)))

    async def _attempt(self, claim: Claim) -> str | None:
        try:
            if claim.webhook_id is not None:
                return await self._post(claim, claim.webhook_id)
            if claim.address:
                return await asyncio.to_thread(self._mail, claim)
        except KeyRefused as refused:
            log.critical("sender.key_refused reason=%s", refused)
            return "key-refused"
        except Exception as failed:
            # of one delivery alone; its text may hold an address, so it is not printed
            log.warning("sender.failed delivery_id=%s error=%s", claim.id, type(failed).__name__)
            return "failed"
        return ENDED

    async def _post(self, claim: Claim, webhook_id: UUID) -> str | None:
        if not claim.url:
            return ENDED
        secrets = webhook_keys.secrets_of(self._key_file, webhook_id, claim.secret_sha256)
        body = delivery_body(claim)
        headers = signed_headers(secrets, str(claim.id), int(claim.now.timestamp()), body)
        attempt = await posting.post(parse_url(claim.url), headers, body, self._networks)
        return attempt.failure

    def _mail(self, claim: Claim) -> str | None:
        if self._server is None:
            return "mail-not-configured"
        message = mail.compose(
            self._server,
            claim.address,
            delivery_id=str(claim.id),
            kind=claim.kind,
            subject=claim.subject,
            facts=claim.facts,
            at=claim.at,
        )
        try:
            mail.send(self._server, message)
        except mail.MailRefused as refused:
            return refused.failure
        return None

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.send_due()
            except Exception as failed:
                log.warning("sender.pass_failed error=%s", type(failed).__name__)


def delivery_body(claim: Claim) -> bytes:
    """What a webhook is sent; the same bytes at every attempt."""
    document = {
        "type": claim.kind,
        "timestamp": claim.at.isoformat(),
        "data": {
            "notification_id": claim.line_id,
            "subject": claim.subject,
            "facts": told_facts(claim.kind, claim.facts),
        },
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _due_ids(session: Session, *, now: datetime) -> list[UUID]:
    receiver = func.coalesce(Delivery.webhook_id, Delivery.principal_id)
    place = func.row_number().over(partition_by=receiver, order_by=(Delivery.due_at, Delivery.id))
    due = (
        select(Delivery.id, Delivery.due_at, place.label("place"))
        .where(Delivery.state == "due", Delivery.due_at <= now)
        .subquery()
    )
    statement = select(due.c.id).where(due.c.place <= OF_ONE_MOST).order_by(due.c.due_at)
    return list(session.scalars(statement.limit(BATCH)))


def _claim(session: Session, *, now: datetime) -> list[Claim]:
    rows = session.scalars(
        select(Delivery)
        .where(Delivery.id.in_(_due_ids(session, now=now)), Delivery.state == "due")
        .order_by(Delivery.id)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    claims = []
    for row in rows:
        row.attempts += 1
        row.due_at = now + timedelta(seconds=CLAIM_S)
        line = session.get_one(Notification, row.notification_id)
        claims.append(
            Claim(
                id=row.id,
                attempt=row.attempts,
                now=now,
                line_id=line.id,
                kind=line.kind,
                subject=line.subject,
                facts=line.facts,
                at=line.at,
                webhook_id=row.webhook_id,
                **_receiver(session, row),
            )
        )
    return claims


def _receiver(session: Session, row: Delivery) -> dict[str, str]:
    """Where a delivery goes as things stand now; nothing of a receiver that has ended."""
    if row.webhook_id is not None:
        webhook = session.get_one(Webhook, row.webhook_id)
        if webhook.ended_at is not None:
            return {}
        return {"url": webhook.url, "secret_sha256": webhook.secret_sha256}
    address = session.scalar(
        select(MailAddress.address)
        .join(Principal, Principal.id == MailAddress.principal_id)
        .where(MailAddress.principal_id == row.principal_id, Principal.active)
    )
    return {"address": address or ""}


def _settle(session: Session, claim: Claim, failure: str | None, *, now: datetime) -> None:
    row = session.get_one(Delivery, claim.id, with_for_update=True)
    if row.state != "due" or row.attempts != claim.attempt:
        # claimed again meanwhile: what comes of it is the other's to say
        return
    row.failure = failure
    ends_at = row.created_at + timedelta(seconds=GIVE_UP_AFTER_S)
    if failure is None:
        row.state, row.ended_at = "sent", now
        log.info("sender.sent delivery_id=%s kind=%s attempt=%s", row.id, claim.kind, claim.attempt)
    elif failure == ENDED or now >= ends_at:
        row.state, row.ended_at = "given_up", now
        receiver = row.webhook_id or row.principal_id
        audit.record(
            session,
            actor_id=None,
            action="delivery.given-up",
            subject=str(row.id),
            facts={
                "receiver": str(receiver),
                "notification_id": row.notification_id,
                "attempts": row.attempts,
                "failure": failure,
            },
            at=now,
        )
        log.warning("sender.given_up delivery_id=%s failure=%s", row.id, failure)
    else:
        waits_until = now + timedelta(seconds=retry_wait_s(row.attempts))
        row.due_at = min(waits_until, ends_at)
