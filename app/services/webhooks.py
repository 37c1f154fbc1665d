"""Webhooks: made and ended by an administrator; the secret is shown once and kept nowhere."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import Delivery, Notification, Webhook
from app.db.pages import PAGE_MOST, page_of
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.documents import read_choice, under
from app.domain.errors import InvalidParameter, KeyFileUnusable, NotFound
from app.domain.notices import NOTICE_KINDS
from app.domain.webhooks import (
    derived_secret,
    is_allowed,
    parse_url,
    secret_sha256,
    secret_text,
)
from app.services import audit, webhook_keys
from app.services.access import Caller, require_role
from app.services.deliveries import delivery_json
from app.services.idempotency import Keyed, decide_once
from app.services.signing import KeyRefused

log = logging.getLogger(__name__)

# each line is written once for every one of them, in the transaction that it tells of
WEBHOOKS_MOST: Final = 20


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A new webhook: where, and of what it is told."""

    url: str
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Use cases on webhooks.

    key_file: what secrets are derived from.
    networks: which addresses may be reached besides public ones.
    """

    make_session: SessionMaker
    key_file: Path
    networks: tuple[str, ...] = ()

    def create(self, caller: Caller, request: WebhookRequest, keyed: Keyed) -> dict[str, Any]:
        """Make a webhook. A repeat of the request answers with the same id and no secret.

        Raises:
            InvalidParameter: a URL or kinds that are not usable, an address that may not be
                reached, or one webhook too many.
            KeyFileUnusable: there is no key to derive its secret from.
        """
        require_role(caller, "admin", action="make webhooks")
        target = parse_url(request.url)
        kinds = _read_kinds(request.kinds)
        if target.is_address and not is_allowed(target.host, target, self.networks):
            raise InvalidParameter("/url", "a public address is expected")
        try:
            master = webhook_keys.load_or_create(self.key_file)
        except KeyRefused as refused:
            log.critical("webhooks.key_refused reason=%s", refused)
            raise KeyFileUnusable from None
        shown: list[str] = []

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            open_now = select(func.count()).where(Webhook.ended_at.is_(None))
            if (session.scalar(open_now) or 0) >= WEBHOOKS_MOST:
                raise InvalidParameter("/url", f"at most {WEBHOOKS_MOST} webhooks; end one first")
            webhook_id = uuid4()
            secret = derived_secret(master, webhook_id.bytes)
            row = Webhook(
                id=webhook_id,
                url=request.url,
                kinds=kinds,
                secret_sha256=secret_sha256(secret),
                created_by=caller.principal_id,
                created_at=now,
            )
            session.add(row)
            shown[:] = [secret_text(secret)]
            # overseers read the trail: the host, and no path with its token
            facts = {"host": target.host, "kinds": kinds}
            _record(session, caller, "webhook.created", row, facts, now)
            session.flush()
            return webhook_json(row)

        document = decide_once(self.make_session, keyed, decide)
        return {**document, "secret": shown[0] if shown else None}

    def end(self, caller: Caller, webhook_id: UUID) -> dict[str, Any]:
        """Send it nothing any more; what waits is given up. A repeat changes nothing.

        Raises:
            NotFound: no such webhook.
        """
        require_role(caller, "admin", action="end webhooks")
        with transaction(self.make_session) as session:
            row = session.get(Webhook, webhook_id, with_for_update={"key_share": True})
            if row is None:
                raise NotFound(kind="webhook", id=str(webhook_id))
            if row.ended_at is None:
                row.ended_at = database_now(session)
                _record(session, caller, "webhook.ended", row, {}, row.ended_at)
            return webhook_json(row)

    def deliveries(
        self, caller: Caller, webhook_id: UUID, before: UUID | None, limit: int
    ) -> list[dict[str, Any]]:
        """What was sent to a webhook and what waits, newest first; the page after `before`.

        Raises:
            NotFound: no such webhook, or no such delivery of it.
        """
        require_role(caller, "admin", action="list deliveries")
        statement = (
            select(Delivery, Notification.kind)
            .join(Notification, Notification.id == Delivery.notification_id)
            .where(Delivery.webhook_id == webhook_id)
            .order_by(Delivery.notification_id.desc(), Delivery.id)
            .limit(limit)
        )
        with snapshot(self.make_session) as session:
            if session.get(Webhook, webhook_id) is None:
                raise NotFound(kind="webhook", id=str(webhook_id))
            if before is not None:
                last = session.get(Delivery, before)
                if last is None or last.webhook_id != webhook_id:
                    raise NotFound(kind="delivery", id=str(before))
                statement = statement.where(Delivery.notification_id < last.notification_id)
            return [delivery_json(row, kind) for row, kind in session.execute(statement)]

    def list(
        self, caller: Caller, before: UUID | None = None, limit: int = PAGE_MOST
    ) -> list[dict[str, Any]]:
        """Webhooks, ended ones too, newest first; the page after `before`.

        Raises:
            NotFound: no webhook `before`.
        """
        require_role(caller, "admin", action="list webhooks")
        place = [Webhook.created_at, Webhook.id]
        with snapshot(self.make_session) as session:
            last = None
            if before is not None:
                row = session.get(Webhook, before)
                if row is None:
                    raise NotFound(kind="webhook", id=str(before))
                last = (row.created_at, row.id)
            statement = page_of(select(Webhook), place, last, limit, newest_first=True)
            return [webhook_json(row) for row in session.scalars(statement)]


@dataclass(frozen=True, slots=True)
class NewSecret:
    """What a webhook's receiver has to be told, and who it is."""

    webhook_id: UUID
    host: str
    secret: str


def rotate_key(make_session: SessionMaker, key_file: Path) -> list[NewSecret]:
    """Replace the key that secrets are derived from; for who runs the service.

    Until `end_rotation` each body is signed by both keys, so that receivers can be told one by one.
    Said again before that, it tells the same secrets again.

    Raises:
        KeyRefused: the key cannot be used, or the files cannot be written.
    """
    key = webhook_keys.rotate(key_file)
    with transaction(make_session) as session:
        # the file first: a row that names the old secret is signed for by the old key meanwhile
        now = database_now(session)
        told = []
        rows = session.scalars(
            select(Webhook).where(Webhook.ended_at.is_(None)).order_by(Webhook.id).with_for_update()
        )
        for row in rows:
            secret = derived_secret(key, row.id.bytes)
            row.secret_sha256 = secret_sha256(secret)
            told.append(NewSecret(row.id, parse_url(row.url).host, secret_text(secret)))
        audit.record(
            session,
            actor_id=None,
            action="webhooks.key-rotated",
            subject=None,
            facts={"webhooks": len(told)},
            at=now,
        )
    return told


def end_rotation(make_session: SessionMaker, key_file: Path) -> int:
    """Let the new key sign alone; says for how many webhooks.

    Raises:
        KeyRefused: a webhook has its secret by the old key still; rotate again, it goes on.
    """
    key = webhook_keys.load(key_file)
    with snapshot(make_session) as session:
        rows = session.execute(
            select(Webhook.id, Webhook.secret_sha256).where(Webhook.ended_at.is_(None))
        ).all()
    for webhook_id, digest in rows:
        if digest != secret_sha256(derived_secret(key, webhook_id.bytes)):
            raise KeyRefused(f"webhook {webhook_id} is not signed for by the new key: rotate again")
    webhook_keys.forget_before(key_file)
    return len(rows)


def webhook_json(row: Webhook) -> dict[str, Any]:
    """A webhook in the wire form: all but its secret, which is not known here."""
    return {
        "id": str(row.id),
        "url": row.url,
        "kinds": list(row.kinds),
        "created_by": str(row.created_by),
        "created_at": row.created_at.isoformat(),
        "ended_at": None if row.ended_at is None else row.ended_at.isoformat(),
    }


def _read_kinds(kinds: Sequence[str]) -> list[str]:
    known = [read_choice(kind, under("/kinds", i), NOTICE_KINDS) for i, kind in enumerate(kinds)]
    if not known or len(set(known)) != len(known):
        raise InvalidParameter("/kinds", "at least one kind, each once")
    return sorted(known)


def _record(
    session: Session,
    caller: Caller,
    action: str,
    row: Webhook,
    facts: dict[str, Any],
    now: datetime,
) -> None:
    audit.record(
        session,
        actor_id=caller.principal_id,
        action=action,
        subject=str(row.id),
        facts=facts,
        at=now,
    )
