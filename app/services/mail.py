"""Plain mails by SMTP: the same lines as a webhook's, for people who have an address."""

import smtplib
import ssl
import stat
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from app.domain.notices import headline, told_facts

Encryption = Literal["starttls", "tls", "none"]
ENCRYPTIONS: Final[tuple[Encryption, ...]] = get_args(Encryption)
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
TIMEOUT_S: Final = 5.0
SAID: Final = "Figures are not sent by mail; they stand in the inbox and at the budget."


class MailRefused(Exception):
    """A mail was not taken; `failure` says why in one word of ours, never in the server's."""

    def __init__(self, failure: str) -> None:
        super().__init__(failure)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class MailServer:
    """The server that mails are handed to.

    password_file: read at each connection, so that a new password needs no restart; mode 0600.
    encryption: how the connection is kept from others; `none` reaches this machine alone.
    origin: where browsers reach the service; printed where it is known.
    """

    host: str
    port: int
    sender: str
    encryption: Encryption = "starttls"
    user: str = ""
    password_file: Path | None = None
    origin: str = ""


def compose(
    server: MailServer,
    to: str,
    *,
    delivery_id: str,
    kind: str,
    subject: str,
    facts: dict[str, Any],
    at: datetime,
) -> EmailMessage:
    """One line as a mail; its id is that of the delivery, so that a second copy can be told."""
    message = EmailMessage()
    message["From"] = server.sender
    message["To"] = to
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{delivery_id}@{server.sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    said = headline(kind, facts)
    message["Subject"] = f"Epsilon Ledger: {said}"
    lines = [said + ".", "", f"kind: {kind}", f"subject: {subject}", f"at: {at.isoformat()}"]
    lines += [f"{name}: {value}" for name, value in told_facts(kind, facts).items()]
    lines += ["", SAID]
    if server.origin:
        lines.append(server.origin)
    message.set_content("\n".join(lines) + "\n")
    return message


def send(server: MailServer, message: EmailMessage) -> None:
    """Hand a mail over.

    Raises:
        MailRefused: it was not taken.
    """
    try:
        with _connected(server) as connection:
            if server.user:
                connection.login(server.user, _password(server))
            connection.send_message(message)
    except smtplib.SMTPAuthenticationError:
        raise MailRefused("mail-sign-in") from None
    except smtplib.SMTPRecipientsRefused:
        raise MailRefused("mail-address-refused") from None
    except TimeoutError:
        raise MailRefused("timeout") from None
    except ssl.SSLError:
        raise MailRefused("mail-encryption") from None
    except smtplib.SMTPNotSupportedError:
        raise MailRefused("mail-encryption") from None
    except smtplib.SMTPException:
        raise MailRefused("mail-refused") from None
    except OSError:
        raise MailRefused("not-reachable") from None


def _connected(server: MailServer) -> smtplib.SMTP:
    if server.encryption == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=context)
    connection = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
    if server.encryption == "starttls":
        try:
            # refused rather than sent in the open, where the server offers none
            connection.starttls(context=ssl.create_default_context())
        except BaseException:
            connection.close()
            raise
    return connection


def _password(server: MailServer) -> str:
    path = server.password_file
    try:
        if path is None or path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise MailRefused("mail-password-file")
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        raise MailRefused("mail-password-file") from None
