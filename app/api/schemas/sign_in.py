"""Signing in, sessions and invitations on the wire."""

from typing import Annotated

from pydantic import StringConstraints

from app.api.wire import IdText, Name, TimeText, WireAnswer, WireRequest

# compared with what is kept, so any text may be sent; a new one is looked at by the service
Password = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class WaysRead(WireAnswer):
    """How people sign in here: by a password of this house, by an identity provider, or neither."""

    password: bool
    oidc: bool


class SignIn(WireRequest):
    """Who signs in with a password."""

    name: Name
    password: Password


class SessionStarted(WireAnswer):
    """A session. Its secret is in the cookie alone.

    request_token: sent in `X-Epsilon-Request-Token` with every request that is no GET.
    """

    session_id: str
    request_token: str
    expires_at: TimeText


class SessionRead(WireAnswer):
    """A session of the caller; it ends by itself at `expires_at`, or an hour after `seen_at`."""

    id: str
    way: str
    is_this_one: bool
    created_at: TimeText
    seen_at: TimeText
    expires_at: TimeText
    ended_at: TimeText | None


class SessionList(WireAnswer):
    """The caller's sessions that are good now."""

    items: list[SessionRead]


class InvitationMade(WireAnswer):
    """A token to set a password by. `token` is shown once: a repeat answers null there."""

    id: str
    principal_id: IdText
    expires_at: TimeText
    token: str | None


class PasswordSet(WireRequest):
    """An invitation and the password that it sets."""

    token: Token
    password: Password
