"""That somebody can always administer: a step that every use case which could end it asks."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models.principal import ApiKey, Principal
from app.domain.errors import NotAllowed


def hold_people(session: Session) -> None:
    """Lock all principals in id order, so that changes of who may act come one after the other.

    Two admins who end each other at the same moment would else both succeed. Rows that only refer
    to a principal, such as those of an admission, are not kept waiting.
    """
    session.execute(
        select(Principal.id).order_by(Principal.id).with_for_update(key_share=True)
    ).all()


def require_admin_left(session: Session, now: datetime, *, action: str) -> None:
    """Refuse a change, made already in this transaction, that left no admin a way in.

    Raises:
        NotAllowed: nobody could make another one.
    """
    session.flush()
    rows = session.execute(
        select(ApiKey, Principal)
        .join(Principal, Principal.id == ApiKey.principal_id)
        .where(ApiKey.revoked_at.is_(None), Principal.active)
    )
    for key, principal in rows:
        is_good = key.expires_at is None or key.expires_at > now
        administers = key.rights is None or "administer" in key.rights
        if "admin" in principal.roles and is_good and administers:
            return
    raise NotAllowed(action=action, needs="another admin with a usable key")
