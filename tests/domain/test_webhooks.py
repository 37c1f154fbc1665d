"""Where a webhook may lead, how long it is tried, and what its signature covers."""

import pytest

from app.domain.errors import InvalidParameter
from app.domain.notices import FACTS_TOLD, HEADLINES, NOTICE_KINDS, headline, told_facts
from app.domain.webhooks import (
    GIVE_UP_AFTER_S,
    derived_secret,
    is_allowed,
    parse_networks,
    parse_url,
    retry_wait_s,
    signed_headers,
)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://hooks.example/a?b=c", ("https", "hooks.example", 443, "/a?b=c")),
        ("https://HOOKS.example:8443", ("https", "hooks.example", 8443, "/")),
        ("http://127.0.0.1:9/x", ("http", "127.0.0.1", 9, "/x")),
        ("http://localhost:80", ("http", "localhost", 80, "/")),
        ("http://[::1]:8000/x", ("http", "::1", 8000, "/x")),
    ],
)
def test_a_url_is_read_into_where_it_leads(url: str, place: tuple[str, str, int, str]) -> None:
    target = parse_url(url)
    assert (target.scheme, target.host, target.port, target.path) == place


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/",
        "http://127.0.0.1.hooks.example/",
        "http://10.0.0.1/",
        "ftp://hooks.example/",
        "https://user@hooks.example/",
        "https://:hunter2@hooks.example/",
        "https://hooks.example/#part",
        "https://hooks.example:0/",
        "https://hooks.example:99999/",
        "https://",
        "https:///path",
        "https://hooks example/",
        "https://hooks.example/\r\nhost: other",
        "https://h\u00f6oks.example/",
        "https://[::1/",
        "https://hooks.example/" + "a" * 500,
    ],
)
def test_a_url_of_another_form_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_url(url)
    assert "hunter2" not in refused.value.reason


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.100.100.200", False),
        ("169.254.169.254", False),
        ("fe80::1", False),
        ("fd00:ec2::254", False),
        ("::ffff:169.254.169.254", False),
        ("::ffff:10.0.0.1", False),
        ("2002:a9fe:a9fe::1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("240.0.0.1", False),
    ],
)
def test_a_name_leads_to_public_addresses_alone(address: str, allowed: bool) -> None:
    assert is_allowed(address, parse_url("https://hooks.example/"), ()) == allowed


def test_networks_of_the_settings_open_what_they_hold_and_no_more() -> None:
    networks = parse_networks("10.20.0.0/16, fd12::/48")
    target = parse_url("https://hooks.house.example/")
    assert is_allowed("10.20.3.4", target, networks)
    assert is_allowed("fd12::1", target, networks)
    assert is_allowed("::ffff:10.20.3.4", target, networks)
    assert not is_allowed("10.21.0.1", target, networks)
    assert not is_allowed("169.254.169.254", target, networks)
    with pytest.raises(ValueError, match="host bits"):
        parse_networks("10.20.0.1/16")


def test_a_url_of_this_machine_leads_nowhere_else() -> None:
    target = parse_url("http://localhost:8000/")
    assert is_allowed("127.0.0.1", target, ())
    assert is_allowed("::1", target, ())
    assert not is_allowed("93.184.216.34", target, ("93.184.216.34/32",))


def test_waits_double_up_to_an_hour_and_a_day_holds_some_thirty() -> None:
    waits = [retry_wait_s(attempt) for attempt in range(1, 60)]
    assert waits[:4] == [5, 10, 20, 40]
    assert max(waits) == 3600
    attempts = next(n for n in range(60) if sum(waits[:n]) >= GIVE_UP_AFTER_S)
    assert 30 <= attempts <= 36


def test_a_signature_covers_the_id_the_time_and_every_byte_of_the_body() -> None:
    secret = derived_secret(b"k" * 32, b"w" * 16)
    first = signed_headers([secret], "d1", 1_800_000_000, b"{}")["webhook-signature"]
    others = [
        signed_headers([secret], "d2", 1_800_000_000, b"{}"),
        signed_headers([secret], "d1", 1_800_000_001, b"{}"),
        signed_headers([secret], "d1", 1_800_000_000, b"{ }"),
        signed_headers([derived_secret(b"k" * 32, b"x" * 16)], "d1", 1_800_000_000, b"{}"),
        signed_headers([derived_secret(b"l" * 32, b"w" * 16)], "d1", 1_800_000_000, b"{}"),
    ]
    assert first not in [other["webhook-signature"] for other in others]
    assert len({other["webhook-signature"] for other in others}) == len(others)


def test_the_signature_is_that_of_the_public_specification() -> None:
    # the example of standardwebhooks.com's own libraries
    import base64

    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(
        [secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_no_figure_leaves_the_house_and_every_kind_has_its_words() -> None:
    facts = {"budget_id": "b1", "percent": "80", "limit": "8", "seq": 4, "p_value": "0.01"}
    assert told_facts("threshold", facts) == {"budget_id": "b1", "percent": "80"}
    assert told_facts("broken-chain", facts) == {"budget_id": "b1"}
    assert told_facts("unheard-of", facts) == {}
    assert headline("threshold", facts) == "A budget has passed 80% of its limit"
    assert set(FACTS_TOLD) == set(HEADLINES) == set(NOTICE_KINDS)
