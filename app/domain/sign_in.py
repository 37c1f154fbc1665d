"""Signing in: how long guessing has to wait, and how it is refused.

The wait doubles with every failure, and not for ever.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import ClassVar, Final, Literal

from app.domain.errors import DomainError

FailureKind = Literal["name", "address"]

# an office may share an address
FREE_FAILURES: Final[dict[FailureKind, int]] = {"name": 5, "address": 30}
WAIT_MOST_S: Final = 900
FORGOTTEN_AFTER_S: Final = 86_400


def wait_s(kind: FailureKind, failures: int) -> int:
    """Seconds until the next attempt after so many failures in a row; 0 for the first ones.

    A name is never shut for longer than `WAIT_MOST_S`: else anybody could shut out anybody.
    """
    beyond = failures - FREE_FAILURES[kind]
    return 0 if beyond < 0 else min(WAIT_MOST_S, 2 ** min(beyond, 20))


def address_group(address: str) -> str:
    """What counts as one address: an IPv4 one, or the /64 that an IPv6 host can choose from."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, 64), strict=False))
    return str(parsed)


@dataclass(eq=False)
class TwoCredentials(DomainError):
    """A request came with a key and with a session; nobody says which of the two is meant."""

    code: ClassVar[str] = "two-credentials"


@dataclass(eq=False)
class CrossSiteRequest(DomainError):
    """A session's unsafe request came from another page than ours, or without its token."""

    code: ClassVar[str] = "cross-site-request"

    reason: str


@dataclass(eq=False)
class InsecureTransport(DomainError):
    """Signing in over plain HTTP from another machine: no browser would keep the session."""

    code: ClassVar[str] = "insecure-transport"


@dataclass(eq=False)
class WayNotOffered(DomainError):
    """People do not sign in like this here: `password`, or `oidc`."""

    code: ClassVar[str] = "way-not-offered"

    way: str


@dataclass(eq=False)
class SignInRefused(DomainError):
    """An unknown name, a wrong password, or somebody who has left; which of these is not said."""

    code: ClassVar[str] = "sign-in-refused"


@dataclass(eq=False)
class TooManyAttempts(DomainError):
    """Signing in failed too often lately, for this name or from this address."""

    code: ClassVar[str] = "too-many-attempts"

    retry_after_s: int


@dataclass(eq=False)
class InvitationNotUsable(DomainError):
    """An invitation that is unknown, over or used; which of these is not said."""

    code: ClassVar[str] = "invitation-not-usable"


@dataclass(eq=False)
class SignInNotStarted(DomainError):
    """An answer of the identity provider to a sign-in that this browser has not begun."""

    code: ClassVar[str] = "sign-in-not-started"


@dataclass(eq=False)
class IdentityProviderFailed(DomainError):
    """The identity provider did not answer, or not in a way that can be believed."""

    code: ClassVar[str] = "identity-provider-failed"

    reason: str


@dataclass(eq=False)
class IdentityNotLinked(DomainError):
    """The provider knows this person and nobody here is linked to it.

    identity: the person's own subject, by which an admin links it.
    """

    code: ClassVar[str] = "identity-not-linked"

    identity: str


@dataclass(eq=False)
class CodeNotUsable(DomainError):
    """A program's code that is unknown, over, used or not its own; which of these is not said."""

    code: ClassVar[str] = "code-not-usable"
