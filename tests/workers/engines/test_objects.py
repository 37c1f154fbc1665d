"""Objects of stores: one look before, one whole copy of one state after, and no key anywhere."""

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.domain.object_stores import ObjectStore, object_address
from tests.object_store import KEYS, REGION, SECRET, Store, object_store
from workers.engines.api import EngineRefused, SourceUnavailable, StoredObject
from workers.engines.objects import (
    Credentials,
    copy_to,
    read_keys,
    require_there,
    signed_headers,
)

NAME = "EPSILON_SOURCE_LAKE"
CONTENT = os.urandom(100_000)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv(NAME, KEYS)
    with object_store() as served:
        served.objects["lake/rows.csv"] = CONTENT
        yield served


def stored(store: Store, key: str = "rows.csv", **changes: str) -> StoredObject:
    facts = {"region": REGION, "credentials": f"env:{NAME}", **changes}
    return StoredObject(f"{store.endpoint}/lake/{key}", **facts)


def test_the_published_example_of_a_ranged_get_gets_its_published_signature() -> None:
    held = StoredObject("https://examplebucket.s3.amazonaws.com/test.txt", "us-east-1", "env:X")
    keys = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    at = datetime(2013, 5, 24, tzinfo=UTC)
    headers = signed_headers(held, keys, "GET", {"range": "bytes=0-9"}, at=at)
    assert headers["authorization"].endswith(
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_a_look_asks_for_no_byte_and_a_copy_has_all_of_them(store: Store, tmp_path: Path) -> None:
    require_there(stored(store))
    assert [asked[0] for asked in store.asked] == ["HEAD"]
    copy_to(stored(store), tmp_path / "copies" / "rows.csv")
    copy = tmp_path / "copies" / "rows.csv"
    assert copy.read_bytes() == CONTENT
    assert copy.stat().st_mode & 0o777 == 0o600
    assert list(copy.parent.iterdir()) == [copy]


@pytest.mark.parametrize("key", ["a b/c+d.csv", "ü/täglich.csv", "50%/=&,.csv", "~a(b)!'.csv"])
def test_keys_of_every_kind_are_signed_as_they_are_sent(
    store: Store, tmp_path: Path, key: str
) -> None:
    store.objects[f"lake/deep/{key}"] = CONTENT
    place = ObjectStore(store.endpoint, REGION, f"env:{NAME}")
    address = object_address(place, "s3://lake/deep", key)
    copy_to(StoredObject(address, REGION, f"env:{NAME}"), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT


def test_a_copy_that_breaks_off_goes_on_from_where_it_stopped(store: Store, tmp_path: Path) -> None:
    store.breaks = [30_000, 0]
    copy_to(stored(store), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT
    assert [asked[2] for asked in store.asked] == [None, "bytes=30000-", "bytes=30000-"]


def test_a_copy_is_never_made_of_two_states_of_an_object(store: Store, tmp_path: Path) -> None:
    store.breaks, store.then = [30_000], {"lake/rows.csv": os.urandom(100_000)}
    with pytest.raises(OSError):
        copy_to(stored(store), tmp_path / "copy")
    assert store.asked[-1][3] == 412
    assert not (tmp_path / "copy").exists()


def test_a_store_that_keeps_breaking_off_is_given_up(store: Store, tmp_path: Path) -> None:
    store.breaks = [10, 10, 10, 10]
    with pytest.raises(OSError):
        copy_to(stored(store), tmp_path / "copy")
    assert len(store.asked) == 4
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("key", "region", "keys"),
    [
        ("missing.csv", REGION, KEYS),
        ("rows.csv", "eu-other-1", KEYS),
        ("rows.csv", REGION, KEYS.replace("test", "toast")),
    ],
)
def test_what_the_store_does_not_show_is_refused_before_it_costs(
    store: Store, monkeypatch: pytest.MonkeyPatch, key: str, region: str, keys: str
) -> None:
    monkeypatch.setenv(NAME, keys)
    with pytest.raises(SourceUnavailable):
        require_there(stored(store, key, region=region))


def test_a_store_that_does_not_answer_is_unavailable(store: Store) -> None:
    closed = StoredObject("http://127.0.0.1:1/lake/rows.csv", REGION, f"env:{NAME}")
    with pytest.raises(SourceUnavailable):
        require_there(closed)


def test_a_signed_request_follows_no_redirect_and_asks_no_proxy(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with object_store() as other:
        other.objects["lake/rows.csv"] = CONTENT
        monkeypatch.setenv("http_proxy", other.endpoint)
        copy_to(stored(store), tmp_path / "copy")
        store.redirect = other.endpoint
        with pytest.raises(SourceUnavailable):
            require_there(stored(store))
        with pytest.raises(OSError):
            copy_to(stored(store), tmp_path / "another")
        assert other.asked == []


def certificate(folder: Path) -> Path:
    """A certificate that names this machine and that nobody has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    address = x509.IPAddress(ip_address("127.0.0.1"))
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    kept = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = folder / "certificate.pem"
    file.write_bytes(built.public_bytes(serialization.Encoding.PEM) + kept)
    return file


def test_a_store_whose_certificate_nobody_vouches_for_gets_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAME, KEYS)
    file = certificate(tmp_path)
    with object_store(certificate=file) as store:
        store.objects["lake/rows.csv"] = CONTENT
        with pytest.raises(SourceUnavailable):
            require_there(stored(store))
        assert store.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        require_there(stored(store))


def test_a_session_token_is_sent_and_signed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.token = "for/an/hour=="
    with pytest.raises(SourceUnavailable):
        require_there(stored(store))
    monkeypatch.setenv(NAME, KEYS.replace("}", f', "session_token": "{store.token}"}}'))
    require_there(stored(store))


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "hunter2:hunter2",
        '["hunter2", "hunter2"]',
        '{"access_key_id": "hunter2"}',
        '{"access_key_id": "hunter2", "secret_access_key": 7}',
        '{"access_key_id": "hunter2", "secret_access_key": "hunter2\\r\\nx: y"}',
        '{"access_key_id": "hunter2", "secret_access_key": "hunter2", "profile": "p"}',
    ],
)
def test_a_secret_that_is_no_keys_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv(NAME, secret)
    with pytest.raises(EngineRefused) as refused:
        read_keys(f"env:{NAME}")
    assert "hunter2" not in repr(refused.value) + str(refused.value)


def test_keys_and_signatures_are_in_no_log_and_no_printed_form(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    require_there(stored(store))
    copy_to(stored(store), tmp_path / "copy")
    with pytest.raises(SourceUnavailable) as refused:
        require_there(stored(store, "missing.csv"))
    printed = repr(read_keys(f"env:{NAME}")) + repr(refused.value)
    for secret in (SECRET, "Signature="):
        assert secret not in caplog.text
        assert secret not in printed
