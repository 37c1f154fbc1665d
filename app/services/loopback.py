"""Keys for programs on a person's own machine: asked for in the browser, fetched by the program.

The browser carries only a code that is good once, for a minute, and to nobody who does not hold
what its challenge was made of (RFC 7636, RFC 8252).
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy.orm import Session

from app.db.models import LoopbackGrant
from app.db.session import SessionMaker, database_now, transaction
from app.domain.sign_in import CodeNotUsable
from app.services import api_keys, audit
from app.services.access import Caller
from app.services.principals import held_person

CODE_GOOD_FOR: Final = timedelta(minutes=1)
KEY_GOOD_FOR: Final = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class LoopbackKeys:
    """Use cases of a program that signs in by the browser beside it."""

    make_session: SessionMaker

    def grant(self, caller: Caller, challenge: str) -> str:
        """A code for whom the browser's session speaks for.

        challenge: SHA-256 of the program's verifier, base64url without padding.
        """
        code = secrets.token_urlsafe(32)
        with transaction(self.make_session) as session:
            now = database_now(session)
            session.add(
                LoopbackGrant(
                    code_sha256=_digest(code),
                    principal_id=caller.principal_id,
                    challenge=challenge,
                    expires_at=now + CODE_GOOD_FOR,
                )
            )
            audit.record(
                session,
                actor_id=caller.principal_id,
                action="loopback.granted",
                subject=str(caller.principal_id),
                facts={"session_id": caller.key_id},
                at=now,
            )
        return code

    def key(self, code: str, verifier: str) -> dict[str, Any]:
        """Turn a code into a key that ends by itself; its text is shown this once.

        Raises:
            CodeNotUsable: unknown, over, used, of somebody inactive, or with another verifier;
            which of these is not said, and a code that was tried is used.
        """
        document = None
        with transaction(self.make_session) as session:
            now = database_now(session)
            grant = _found(session, code)
            if grant is not None and grant.used_at is None:
                # before the verifier is looked at: nobody tries twice
                grant.used_at = now
                is_in_time = grant.expires_at > now
                person = held_person(session, grant.principal_id)
                if is_in_time and person.active and _fits(verifier, grant.challenge):
                    made = api_keys.new_key()
                    request = api_keys.KeyRequest(person.id, expires_at=now + KEY_GOOD_FOR)
                    row = api_keys.add_key(session, made, request, now)
                    audit.record(
                        session,
                        actor_id=person.id,
                        action="api-key.created",
                        subject=row.id,
                        facts={"principal_id": str(person.id), "way": "loopback"},
                        at=now,
                    )
                    document = {**api_keys.key_document(row), "key": made.text}
        if document is None:
            raise CodeNotUsable
        return document


def _found(session: Session, code: str) -> LoopbackGrant | None:
    return session.get(LoopbackGrant, _digest(code), with_for_update=True, populate_existing=True)


def _fits(verifier: str, challenge: str) -> bool:
    digest = hashlib.sha256(verifier.encode()).digest()
    made = urlsafe_b64encode(digest).rstrip(b"=")
    return hmac.compare_digest(made, challenge.encode())


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
