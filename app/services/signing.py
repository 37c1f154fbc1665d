"""The key that signs the root chain: one file, for its owner's eyes alone (R23).

The public key lies beside it. A verifier is given that file by hand: a key that travels inside a
bundle proves nothing.
"""

import base64
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class KeyRefused(Exception):
    """The key file cannot be used; the text names the file and says what to do."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key, by its 32 raw bytes."""

    raw: bytes

    @classmethod
    def from_base64(cls, text: str) -> Self:
        """The key in the form that a rotation names it in.

        Raises:
            ValueError: not base64 of 32 bytes.
        """
        raw = base64.b64decode(text, validate=True)
        if len(raw) != 32:
            raise ValueError("an Ed25519 public key has 32 bytes")
        return cls(raw)

    @property
    def sha256(self) -> str:
        """How a checkpoint names the key."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def base64(self) -> str:
        """The raw bytes as text."""
        return base64.b64encode(self.raw).decode()

    @property
    def pem(self) -> bytes:
        """The file that a verifier is given."""
        return Ed25519PublicKey.from_public_bytes(self.raw).public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def verifies(self, signature: str, message: bytes) -> bool:
        """Whether a base64 signature over the message is this key's."""
        try:
            raw = base64.b64decode(signature, validate=True)
            Ed25519PublicKey.from_public_bytes(self.raw).verify(raw, message)
        except (ValueError, InvalidSignature):
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 private key; its printed form holds nothing of it."""

    _private: Ed25519PrivateKey

    def __repr__(self) -> str:
        """The public half alone."""
        return f"SigningKey({self.public.sha256[:16]})"

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(
            self._private.public_key().public_bytes(
                serialization.Encoding.Raw, serialization.PublicFormat.Raw
            )
        )

    def sign(self, message: bytes) -> str:
        """The signature over a message, in base64."""
        return base64.b64encode(self._private.sign(message)).decode()


def load(path: Path) -> SigningKey:
    """The key of a file that nobody else may read.

    Raises:
        KeyRefused: it is missing, readable by others, or no Ed25519 key.
    """
    try:
        # opened once and asked about as opened: no other file can take its place in between
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(10_000)
    except OSError as error:
        raise KeyRefused(f"cannot read the key file {path} ({error.strerror})") from None
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise KeyRefused(f"others may read the key file {path}: chmod 600 it, or rotate the key")
    try:
        private = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError):
        raise KeyRefused(f"the key file {path} holds no key") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyRefused(f"the key file {path} holds no Ed25519 key")
    return SigningKey(private)


def create(path: Path) -> SigningKey:
    """Make a key in a new file of mode 0600, durably; a key that stands there is never replaced.

    Raises:
        KeyRefused: the file exists, or cannot be written.
    """
    key = SigningKey(Ed25519PrivateKey.generate())
    text = key._private.private_bytes(  # noqa: SLF001  # our own module
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError as error:
        raise KeyRefused(f"cannot write the key file {path} ({error.strerror})") from None
    return key


def public_path(path: Path) -> Path:
    """Where the public half of a key file lies."""
    return path.with_name(path.name + ".pub")


def read_public(path: Path) -> PublicKey:
    """The public key of a PEM file.

    Raises:
        KeyRefused: there is none, or it is no Ed25519 key.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, TypeError):
        raise KeyRefused(f"no public key in {path}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyRefused(f"no Ed25519 public key in {path}")
    return PublicKey(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def write_public(path: Path, key: PublicKey) -> None:
    """Put a public key beside its key file."""
    write_whole(public_path(path), key.pem)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, whatever happens meanwhile."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a new or renamed file is lost without it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
