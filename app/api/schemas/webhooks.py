"""Webhooks and deliveries on the wire."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from app.api.wire import IdText, TimeText, WireAnswer, WireRequest
from app.domain.notices import NOTICE_KINDS, NoticeKind
from app.domain.webhooks import URL_CHARACTERS_MOST
from app.services.webhooks import WebhookRequest

Url = Annotated[
    str, StringConstraints(pattern=r"^https?://[!-~]+$", max_length=URL_CHARACTERS_MOST)
]


class WebhookCreate(WireRequest):
    """Where to send what happens: https, or http to this very machine; no redirect is followed."""

    url: Url
    kinds: Annotated[list[NoticeKind], Field(min_length=1, max_length=len(NOTICE_KINDS))]

    def to_request(self) -> WebhookRequest:
        """What the service takes."""
        return WebhookRequest(self.url, tuple(self.kinds))


class WebhookRead(WireAnswer):
    """A webhook without its secret; nothing is sent to one that has ended."""

    id: IdText
    url: str
    kinds: list[str]
    created_by: IdText
    created_at: TimeText
    ended_at: TimeText | None


class WebhookCreated(WebhookRead):
    """A new webhook. `secret` is shown once: a repeat of the request answers null there."""

    secret: str | None


class WebhookPage(WireAnswer):
    """All webhooks, newest first."""

    items: list[WebhookRead]
    next: str | None


class DeliveryRead(WireAnswer):
    """One notification for one receiver.

    It is `due` until it was `sent`, or `given_up` after a day; `failure` says what the last
    attempt came to.
    """

    id: IdText
    notification_id: int
    kind: str
    state: Literal["due", "sent", "given_up"]
    attempts: int
    failure: str | None
    created_at: TimeText
    due_at: TimeText | None
    ended_at: TimeText | None


class DeliveryPage(WireAnswer):
    """Deliveries, newest first."""

    items: list[DeliveryRead]
    next: str | None
