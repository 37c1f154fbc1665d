"""Where people are written to: set and taken back by an administrator, for whoever wants mails."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.db.models import MailAddress, Principal
from app.db.pages import PAGE_MOST, page_of
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.errors import NotFound
from app.domain.mail_addresses import parse_address
from app.services import audit
from app.services.access import Caller, require_role


@dataclass(frozen=True, slots=True)
class MailAddresses:
    """Use cases on mail addresses."""

    make_session: SessionMaker

    def write(self, caller: Caller, principal_id: UUID, address: str | None) -> dict[str, Any]:
        """Write to somebody at this address from now on, or no more; a repeat changes nothing.

        The trail says that it changed and not what it is: it outlives who leaves.

        Raises:
            NotFound: no such person.
            InvalidParameter: no usable address.
        """
        require_role(caller, "admin", action="change mail addresses")
        wanted = None if address is None else parse_address(address)
        with transaction(self.make_session) as session:
            # with its row held: two admins at once write one row
            person = session.get(Principal, principal_id, with_for_update={"key_share": True})
            if person is None:
                raise NotFound(kind="person", id=str(principal_id))
            row = session.get(MailAddress, principal_id)
            now = database_now(session)
            if row is None:
                row = MailAddress(
                    principal_id=principal_id,
                    address=None,
                    changed_by=caller.principal_id,
                    changed_at=now,
                )
                session.add(row)
            if row.address != wanted:
                row.address = wanted
                row.changed_by, row.changed_at = caller.principal_id, now
                audit.record(
                    session,
                    actor_id=caller.principal_id,
                    action="mail-address.set" if wanted else "mail-address.taken-back",
                    subject=str(principal_id),
                    facts={},
                    at=now,
                )
            return mail_address_json(row)

    def list(
        self, caller: Caller, after: UUID | None = None, limit: int = PAGE_MOST
    ) -> list[dict[str, Any]]:
        """Who has an address, by name; the page after the person `after`.

        Raises:
            NotFound: no person `after`; one whose address is gone meanwhile still has a name.
        """
        require_role(caller, "admin", action="list mail addresses")
        with_address = (
            select(MailAddress)
            .join(Principal, Principal.id == MailAddress.principal_id)
            .where(MailAddress.address.is_not(None))
        )
        with snapshot(self.make_session) as session:
            last = None
            if after is not None:
                person = session.get(Principal, after)
                if person is None:
                    raise NotFound(kind="person", id=str(after))
                last = (person.name,)
            statement = page_of(with_address, [Principal.name], last, limit)
            return [mail_address_json(row) for row in session.scalars(statement)]


def mail_address_json(row: MailAddress) -> dict[str, Any]:
    """An address in the wire form."""
    return {
        "principal_id": str(row.principal_id),
        "address": row.address,
        "changed_by": str(row.changed_by),
        "changed_at": row.changed_at.isoformat(),
    }
