"""Linked identities, and keys by the browser, on the wire."""

from typing import Annotated

from pydantic import StringConstraints

from app.api.wire import NO_CONTROL, IdText, TimeText, WireAnswer, WireRequest

Subject = Annotated[str, StringConstraints(pattern=NO_CONTROL, min_length=1, max_length=255)]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$", max_length=320)]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
Verifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~-]{43,128}$")]


class IdentityLink(WireRequest):
    """Who somebody is at the provider: `subject`, or `email` as the provider has verified it.

    A link by e-mail is bound to the first subject that comes with it, and to no other later.
    """

    subject: Subject | None = None
    email: Email | None = None


class IdentityRead(WireAnswer):
    """A link. `bound_at` says when an address became that of its subject."""

    id: str
    principal_id: IdText
    issuer: str
    subject: str | None
    email: str | None
    created_at: TimeText
    bound_at: TimeText | None


class IdentityList(WireAnswer):
    """Somebody's links."""

    items: list[IdentityRead]


class LoopbackCode(WireRequest):
    """What a program got by its loopback redirect, and what its challenge was made of."""

    code: Code
    verifier: Verifier
