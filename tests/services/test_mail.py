"""Mails reach the people of the role at a real server, encrypted where asked, figures left out."""

from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select, update

from app.db.models import AuditEvent, Principal
from app.db.session import snapshot, transaction
from app.domain.errors import InvalidParameter, NotAllowed, NotFound
from app.services.mail import MailServer
from app.services.mail_addresses import MailAddresses
from tests.mail_sink import Sink, own_certificate, sinking
from tests.receiver import free_port
from tests.services.test_sender import deliveries, make_due, sender
from tests.world import World

SENDER = "ledger@house.example"


def write_to(world: World, *names: str) -> None:
    for name in names:
        MailAddresses(world.make_session).write(
            world.people["admin"], world.people[name].principal_id, f"{name}@house.example"
        )


def plain(sink: Sink) -> MailServer:
    return MailServer(
        "127.0.0.1", sink.port, SENDER, encryption="none", origin="https://ledger.house.example"
    )


def test_a_pending_change_is_mailed_to_the_officers_who_may_decide_it(
    world: World, tmp_path: Path
) -> None:
    write_to(world, "officer", "second_officer", "engineer", "auditor", "admin")
    with sinking() as sink:
        proposed = world.propose_root(epsilon="7.53109375")
        assert sender(world, tmp_path, server=plain(sink)).send_due() == 1
    ((to, mail),) = sink.mails
    assert to == "second_officer@house.example"
    assert (mail["From"], mail["To"]) == (SENDER, to)
    assert mail["Subject"] == "Epsilon Ledger: A change waits for a second person: open"
    text = mail.get_content()  # type: ignore[attr-defined]  # of the policy `default`
    assert f"subject: {proposed['approval_id']}" in text
    assert f"budget_id: {proposed['id']}" in text
    assert "https://ledger.house.example" in text
    # More decimal places than a time has, so that no time can hold the figure.
    assert "7.53109375" not in text
    (row,) = deliveries(world)
    assert mail["Message-ID"] == f"<{row.id}@house.example>"
    assert row.state == "sent"


def test_a_mail_outlives_a_server_that_is_away_or_refuses_for_now(
    world: World, tmp_path: Path
) -> None:
    write_to(world, "second_officer")
    port = free_port()
    server = MailServer("127.0.0.1", port, SENDER, encryption="none")
    sending = sender(world, tmp_path, server=server)
    world.propose_root()
    assert sending.send_due() == 0
    assert deliveries(world)[0].failure == "not-reachable"
    with sinking(port) as sink:
        sink.refuses = True
        make_due(world)
        assert sending.send_due() == 0
        assert deliveries(world)[0].failure == "mail-address-refused"
        sink.refuses = False
        make_due(world)
        assert sending.send_due() == 1
    assert len(sink.mails) == 1


def test_without_a_server_mails_wait_their_day_and_are_given_up(
    world: World, tmp_path: Path
) -> None:
    write_to(world, "second_officer")
    world.propose_root()
    sending = sender(world, tmp_path)
    assert sending.send_due() == 0
    assert (deliveries(world)[0].state, deliveries(world)[0].failure) == (
        "due",
        "mail-not-configured",
    )
    make_due(world, hours=24)
    assert sending.send_due() == 0
    assert deliveries(world)[0].state == "given_up"


def test_signing_in_takes_the_password_of_the_file_over_a_trusted_connection_alone(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_to(world, "second_officer")
    world.propose_root()
    certificate, context = own_certificate(tmp_path)
    password = tmp_path / "smtp.password"
    password.write_text("three plain words\n")
    password.chmod(0o600)
    with sinking(context=context, password="three plain words") as sink:

        def attempt() -> str | None:
            server = MailServer(
                "127.0.0.1", sink.port, SENDER, user="ledger", password_file=password
            )
            make_due(world)
            sending.__dict__["_server"] = server
            sending.send_due()
            return deliveries(world)[0].failure

        sending = sender(world, tmp_path)
        assert attempt() == "mail-encryption"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        password.write_text("another")
        assert attempt() == "mail-sign-in"
        password.write_text("three plain words\n")
        password.chmod(0o644)
        assert attempt() == "mail-password-file"
        password.chmod(0o600)
        assert sink.mails == []
        assert attempt() is None
        assert len(sink.mails) == 1


def test_a_server_without_encryption_is_told_nothing(world: World, tmp_path: Path) -> None:
    write_to(world, "second_officer")
    world.propose_root()
    with sinking() as sink:
        server = MailServer("127.0.0.1", sink.port, SENDER)
        assert sender(world, tmp_path, server=server).send_due() == 0
    assert sink.mails == []
    assert deliveries(world)[0].failure == "mail-encryption"


def test_who_has_left_or_took_the_address_back_is_written_to_no_more(
    world: World, tmp_path: Path
) -> None:
    write_to(world, "second_officer")
    second = world.people["second_officer"].principal_id
    proposed = world.propose_root()
    with transaction(world.make_session) as session:
        session.execute(update(Principal).where(Principal.id == second).values(active=False))
    with sinking() as sink:
        assert sender(world, tmp_path, server=plain(sink)).send_due() == 0
        assert deliveries(world)[0].state == "given_up"
        with transaction(world.make_session) as session:
            session.execute(update(Principal).where(Principal.id == second).values(active=True))
        world.decide(UUID(proposed["approval_id"]), "reject")
        MailAddresses(world.make_session).write(world.people["admin"], second, None)
        world.propose_root()
    assert len(deliveries(world)) == 1
    assert sink.mails == []


def test_addresses_are_an_administrators_and_stand_in_no_trail(world: World) -> None:
    use, admin = MailAddresses(world.make_session), world.people["admin"]
    second = world.people["second_officer"].principal_id
    for who in ("officer", "auditor", "engineer"):
        with pytest.raises(NotAllowed):
            use.write(world.people[who], second, "a@b.example")
        with pytest.raises(NotAllowed):
            use.list(world.people[who])
    first = use.write(admin, second, "second@house.example")
    assert use.write(admin, second, "second@house.example") == first
    assert [each["address"] for each in use.list(admin)] == ["second@house.example"]
    for wrong in ("a", "a@", "@b", "a@b\r\nBcc: c@d.example", "a b@c.example", "A <a@b.example>"):
        with pytest.raises(InvalidParameter):
            use.write(admin, second, wrong)
    with pytest.raises(NotFound):
        use.write(admin, UUID(int=1), "a@b.example")
    use.write(admin, second, None)
    assert use.list(admin) == []
    with snapshot(world.make_session) as session:
        found = session.execute(
            select(AuditEvent.action, AuditEvent.facts).where(
                AuditEvent.action.like("mail-address.%")
            )
        ).all()
    assert [tuple(row) for row in found] == [
        ("mail-address.set", {}),
        ("mail-address.taken-back", {}),
    ]
