"""Mail addresses on the wire."""

from typing import Annotated

from pydantic import StringConstraints

from app.api.wire import IdText, TimeText, WireAnswer, WireRequest
from app.domain.mail_addresses import ADDRESS_CHARACTERS_MOST

Address = Annotated[
    str,
    StringConstraints(pattern=r"^[!-~]+@[A-Za-z0-9.-]+$", max_length=ADDRESS_CHARACTERS_MOST),
]


class MailAddressWrite(WireRequest):
    """Where somebody is written to from now on; null takes it back."""

    address: Address | None


class MailAddressRead(WireAnswer):
    """Where somebody is written to."""

    principal_id: IdText
    address: str | None
    changed_by: IdText
    changed_at: TimeText


class MailAddressPage(WireAnswer):
    """Everybody who has an address."""

    items: list[MailAddressRead]
    next: str | None
