"""An SMTP server on the loopback that keeps its mails, with STARTTLS and sign-in if asked."""

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from email.policy import default
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Sink(socketserver.ThreadingTCPServer):
    """mails: what was taken. refuses: whether every mail is refused for now."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, context: ssl.SSLContext | None, password: str) -> None:
        self.context, self.password = context, password
        self.mails: list[tuple[str, Message]] = []
        self.refuses = False
        super().__init__(("127.0.0.1", port), Conversation)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Conversation(socketserver.StreamRequestHandler):
    server: Sink

    def handle(self) -> None:
        self.is_in = not self.server.password
        self.to = ""
        self.say("220 sink")
        try:
            self.converse()
        except OSError:
            # whoever does not trust us hangs up
            pass
        finally:
            # the library closes the plain socket, which no longer stands for the connection
            self.rfile.close()
            self.wfile.close()
            self.connection.close()

    def finish(self) -> None:
        """Nothing is left to flush."""

    def converse(self) -> None:
        while line := self.rfile.readline():
            word, _, rest = line.decode().strip().partition(" ")
            if not self.answer(word.upper(), rest):
                return

    def answer(self, word: str, rest: str) -> bool:
        if word == "EHLO":
            offered = ["sink"]
            if self.server.context is not None and not isinstance(self.connection, ssl.SSLSocket):
                offered.append("STARTTLS")
            if self.server.password:
                offered.append("AUTH PLAIN")
            for each in offered[:-1]:
                self.say(f"250-{each}")
            self.say(f"250 {offered[-1]}")
        elif word == "STARTTLS" and self.server.context is not None:
            self.say("220 go on")
            self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        elif word == "AUTH":
            given = base64.b64decode(rest.partition(" ")[2]).decode().split("\x00")
            self.is_in = given[1:] == ["ledger", self.server.password]
            self.say("235 in" if self.is_in else "535 no")
        elif word == "MAIL":
            self.say("250 ok" if self.is_in else "530 sign in")
        elif word == "RCPT":
            self.to = rest.partition("<")[2].partition(">")[0]
            self.say("450 not now" if self.server.refuses else "250 ok")
        elif word == "DATA":
            self.say("354 go on")
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line)
            self.server.mails.append((self.to, message_from_bytes(b"".join(lines), policy=default)))
            self.say("250 taken")
        else:
            self.say("221 bye" if word == "QUIT" else "250 ok")
            return word != "QUIT"
        return True

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())
        self.wfile.flush()


@contextmanager
def sinking(
    port: int = 0, *, context: ssl.SSLContext | None = None, password: str = ""
) -> Iterator[Sink]:
    with Sink(port, context, password) as sink:
        thread = threading.Thread(target=sink.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield sink
        finally:
            sink.shutdown()
            thread.join()


def own_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate of 127.0.0.1 that only who is told of the file trusts, and its server side."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "sink.pem", folder / "sink.key"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context
