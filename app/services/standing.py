"""What was looked up once, kept for as long as nothing that it rests on has changed.

Callers, their grants, datasets and scopes change seldom; requests come by the thousand. The
database counts every change of them (`standing.changes`). What is kept names the count under which
it was read, and the writer decides on it only while that is still the count: so a right that has
ended opens nothing, in whichever process it was ended (L5).
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from sqlalchemy.orm import Session

from app.db.models.principal import ApiKey, Principal
from app.db.models.sign_in import BrowserSession
from app.domain.errors import NotAllowed, NotAuthenticated
from app.services.access import Caller
from app.services.pricing import PricedRequest

KEPT_MOST: Final = 4096
Kept = TypeVar("Kept")


class StandingMoved(Exception):
    """Something that a look-up rests on has changed since; look it up again."""


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """A request of this body as it was last looked up and priced.

    charges: what it asks of each scope that its caller may read.
    """

    priced: PricedRequest
    charges: tuple[dict[str, Any], ...]
    changes: int | None


class _Lately(Generic[Kept]):
    """The values that were used last, by key."""

    def __init__(self) -> None:
        self._values: OrderedDict[Hashable, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Kept | None:
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: Hashable, value: Kept) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > KEPT_MOST:
                self._values.popitem(last=False)


class LookUps:
    """What one process has looked up lately. A claim, until the writer has found it to be so."""

    def __init__(self) -> None:
        self._callers: _Lately[Caller] = _Lately()
        self._requests: _Lately[KnownRequest] = _Lately()

    def caller(self, key_text: str) -> Caller | None:
        """The caller that this very key spoke for lately."""
        return self._callers.get(_digest(key_text))

    def keep_caller(self, key_text: str, caller: Caller) -> None:
        """Remember whom a key spoke for."""
        self._callers.put(_digest(key_text), caller)

    def request(self, caller: Caller, action: str, body_sha256: str) -> KnownRequest | None:
        """A request of the same key, kind and body, read under the count that the caller has."""
        known = self._requests.get((caller.key_id, action, body_sha256))
        return known if known is not None and known.changes == caller.standing else None

    def keep_request(
        self, caller: Caller, action: str, body_sha256: str, request: KnownRequest
    ) -> None:
        """Remember what a body asks for."""
        self._requests.put((caller.key_id, action, body_sha256), request)


def require_standing(caller: Caller, changes: int | None, now: datetime) -> None:
    """Let a remembered caller pass while all that was read of it is still so.

    Raises:
        StandingMoved: look it up again.
    """
    if caller.standing != changes:
        raise StandingMoved
    if caller.expires_at is not None and caller.expires_at <= now:
        raise StandingMoved


def require_credential(
    session: Session, caller: Caller, changes: int | None, now: datetime
) -> None:
    """Ask once more, in the transaction that decides, where anything has moved meanwhile.

    A caller was let in before his request was priced. What ended since decides nothing more.

    Raises:
        NotAuthenticated: the key or session, or the person that it speaks for, has ended.
        NotAllowed: the person has other roles now.
    """
    if caller.standing is None or caller.standing == changes:
        return
    person = session.get(Principal, caller.principal_id)
    if person is None or not person.active or _has_ended(session, caller):
        raise NotAuthenticated
    if caller.expires_at is not None and caller.expires_at <= now:
        raise NotAuthenticated
    if not caller.roles <= set(person.roles):
        raise NotAllowed(action="ask for room", needs="the role that the caller had")


def _has_ended(session: Session, caller: Caller) -> bool:
    if caller.is_session:
        row = session.get(BrowserSession, caller.key_id)
        return row is None or row.ended_at is not None
    key = session.get(ApiKey, caller.key_id)
    return key is None or key.revoked_at is not None


def _digest(key_text: str) -> str:
    return hashlib.sha256(key_text.encode()).hexdigest()
