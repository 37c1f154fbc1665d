"""Deliveries arrive, signed, at real receivers; dead ones cost nobody else, and are given up."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from app.db.models import AuditEvent, Delivery, Notification
from app.db.session import (
    database_now,
    make_engine,
    make_session_maker,
    snapshot,
    transaction,
)
from app.domain.errors import (
    InvalidParameter,
    KeyFileUnusable,
    LowerRefused,
    NotAllowed,
    NotFound,
)
from app.services import notifications
from app.services.idempotency import Keyed
from app.services.sender import ENDED, Sender
from app.services.webhooks import WEBHOOKS_MOST, WebhookRequest, Webhooks
from tests.receiver import free_port, received, receiving
from tests.world import World, new_world

LIMIT_S = 300


def webhooks(world: World, tmp_path: Path) -> Webhooks:
    return Webhooks(world.make_session, tmp_path / "keys" / "webhook.key")


def sender(world: World, tmp_path: Path, **options: Any) -> Sender:
    return Sender(world.make_session, tmp_path / "keys" / "webhook.key", **options)


def keyed(world: World, key: str) -> Keyed:
    return Keyed(world.people["admin"].principal_id, "POST /v1/webhooks", key, "0" * 64)


def make(
    world: World, tmp_path: Path, url: str, kinds: Sequence[str] = ("approval",), key: str = "one"
) -> dict[str, Any]:
    request = WebhookRequest(url, tuple(kinds))
    return webhooks(world, tmp_path).create(world.people["admin"], request, keyed(world, key))


def verify(request: dict[str, Any], secret: str, *, now_s: float) -> dict[str, Any]:
    """What a receiver does, by the specification alone: refuse old times, compare, then read."""
    headers, body = request["headers"], request["body"]
    assert abs(now_s - int(headers["webhook-timestamp"])) <= LIMIT_S
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert hmac.compare_digest(headers["webhook-signature"], f"v1,{expected}")
    document: dict[str, Any] = json.loads(body)
    return document


def deliveries(world: World) -> list[Delivery]:
    with snapshot(world.make_session) as session:
        rows = list(session.scalars(select(Delivery).order_by(Delivery.created_at)))
        session.expunge_all()
        return rows


def make_due(world: World, **aged: float) -> None:
    """As if time had passed: what waits is due now, and was made so long ago."""
    with transaction(world.make_session) as session:
        now = database_now(session)
        session.execute(
            update(Delivery)
            .where(Delivery.state == "due")
            .values(due_at=now, created_at=now - timedelta(**aged))
        )


def events(world: World, action: str) -> list[dict[str, Any]]:
    with snapshot(world.make_session) as session:
        found = select(AuditEvent.facts).where(AuditEvent.action == action)
        return list(session.scalars(found))


def test_a_delivery_outlives_a_receiver_that_is_killed_and_comes_back(
    world: World, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    made = make(world, tmp_path, f"http://127.0.0.1:{port}/hook?token=t")
    sending = sender(world, tmp_path)
    with receiving(port, log) as process:
        first = world.propose_root()
        assert sending.send_due() == 1
        process.kill()
        process.wait()
        world.decide(UUID(first["approval_id"]), "reject")
        second = world.propose_root()
        assert sending.send_due() == 0
        (waiting,) = [row for row in deliveries(world) if row.state == "due"]
        assert (waiting.attempts, waiting.failure) == (1, "not-reachable")
        # not before its time
        assert sending.send_due() == 0
        assert [row.attempts for row in deliveries(world)] == [1, 1]
    with receiving(port, log):
        make_due(world)
        assert sending.send_due() == 1
    requests = received(log)
    bodies = [verify(each, made["secret"], now_s=time.time()) for each in requests]
    assert [body["type"] for body in bodies] == ["approval", "approval"]
    assert [body["data"]["subject"] for body in bodies] == [
        first["approval_id"],
        second["approval_id"],
    ]
    assert {each["path"] for each in requests} == {"/hook?token=t"}
    assert [row.state for row in deliveries(world)] == ["sent", "sent"]
    ids = [each["headers"]["webhook-id"] for each in requests]
    assert sorted(ids) == sorted(str(row.id) for row in deliveries(world))


def test_a_body_holds_ids_and_no_figure_and_another_secret_does_not_verify_it(
    world: World, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    url = f"http://127.0.0.1:{port}/"
    made = make(world, tmp_path, url, ("threshold",))
    other = make(world, tmp_path, url, ("refusals",), key="two")
    root = world.open_root(epsilon="7.53109375")
    world.reserve(root, {"type": "pure", "epsilon": "4"}, 1)
    with transaction(world.make_session) as session:
        budget = world.budget(root)
        notifications.notice_thresholds(session, budget, now=database_now(session))
    with receiving(port, log):
        assert sender(world, tmp_path).send_due() == 1
    (request,) = received(log)
    body = verify(request, made["secret"], now_s=time.time())
    assert body["data"]["facts"] == {"budget_id": str(root), "percent": "50"}
    # More decimal places than a time has, so that no time can hold the figure.
    assert "7.53109375" not in request["body"]
    with pytest.raises(AssertionError):
        verify(request, other["secret"], now_s=time.time())
    with pytest.raises(AssertionError):
        verify({**request, "body": request["body"] + " "}, made["secret"], now_s=time.time())
    with pytest.raises(AssertionError):
        verify(request, made["secret"], now_s=time.time() + LIMIT_S + 60)


def test_every_attempt_of_a_delivery_has_one_id_and_one_body_and_its_own_time(
    world: World, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    made = make(world, tmp_path, f"http://127.0.0.1:{port}/")
    world.propose_root()
    sending = sender(world, tmp_path)
    with receiving(port, log, status=503):
        for attempt in range(1, 4):
            make_due(world)
            assert sending.send_due() == 0
            (row,) = deliveries(world)
            assert (row.attempts, row.failure, row.state) == (attempt, "status-503", "due")
            waits_s = (row.due_at - row.created_at).total_seconds()
            assert 5 * 2 ** (attempt - 1) <= waits_s < 5 * 2 ** (attempt - 1) + 5
    requests = received(log)
    assert len(requests) == 3
    assert len({each["headers"]["webhook-id"] for each in requests}) == 1
    assert len({each["body"] for each in requests}) == 1
    for each in requests:
        verify(each, made["secret"], now_s=time.time())


def test_what_nobody_took_for_a_day_is_given_up_with_an_event(world: World, tmp_path: Path) -> None:
    port = free_port()
    make(world, tmp_path, f"http://127.0.0.1:{port}/secret-path")
    world.propose_root()
    sending = sender(world, tmp_path)
    make_due(world, hours=23.9)
    assert sending.send_due() == 0
    assert [row.state for row in deliveries(world)] == ["due"]
    assert events(world, "delivery.given-up") == []
    make_due(world, hours=24)
    assert sending.send_due() == 0
    (row,) = deliveries(world)
    assert (row.state, row.failure) == ("given_up", "not-reachable")
    (facts,) = events(world, "delivery.given-up")
    assert facts == {
        "receiver": str(row.webhook_id),
        "notification_id": row.notification_id,
        "attempts": 2,
        "failure": "not-reachable",
    }
    make_due(world)
    assert sending.send_due() == 0
    assert len(events(world, "delivery.given-up")) == 1


def test_a_redirect_is_a_failure_and_leads_nowhere(world: World, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    make(world, tmp_path, f"http://127.0.0.1:{port}/here")
    world.propose_root()
    with receiving(port, log, status=307):
        assert sender(world, tmp_path).send_due() == 0
    assert [each["path"] for each in received(log)] == ["/here"]
    assert deliveries(world)[0].failure == "status-307"


def test_a_name_that_leads_inside_is_not_connected_to(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, log = free_port(), tmp_path / "log"
    make(world, tmp_path, f"https://hooks.example:{port}/")
    world.propose_root()

    async def inside(*_: object, **__: object) -> list[Any]:
        return [(2, 1, 6, "", ("127.0.0.1", port)), (2, 1, 6, "", ("169.254.169.254", port))]

    class Loop:
        getaddrinfo = staticmethod(inside)

    # the name service is the one part that is not ours; the receiver behind it is real
    monkeypatch.setattr(asyncio, "get_running_loop", Loop)
    with receiving(port, log):
        assert sender(world, tmp_path).send_due() == 0
    assert received(log) == []
    assert deliveries(world)[0].failure == "address-refused"


def test_a_literal_inner_address_is_refused_when_it_is_named_unless_a_setting_allows_it(
    world: World, tmp_path: Path
) -> None:
    for url in ("https://169.254.169.254/latest", "https://10.0.0.1/", "https://[fd00:ec2::254]/"):
        with pytest.raises(InvalidParameter):
            make(world, tmp_path, url)
    inside = Webhooks(world.make_session, tmp_path / "webhook.key", ("10.0.0.0/8",))
    request = WebhookRequest("https://10.0.0.1/", ("approval",))
    assert inside.create(world.people["admin"], request, keyed(world, "k"))["secret"]


def test_a_silent_receiver_keeps_no_other_waiting(world: World, tmp_path: Path) -> None:
    import socket

    port, log = free_port(), tmp_path / "log"
    with socket.socket() as silent, receiving(port, log):
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        make(world, tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}/", key="silent")
        make(world, tmp_path, f"http://127.0.0.1:{port}/", key="open")
        world.propose_root()
        began_s = time.monotonic()
        assert sender(world, tmp_path).send_due() == 1
        assert time.monotonic() - began_s < 9
    assert len(received(log)) == 1
    assert sorted(row.failure or "" for row in deliveries(world)) == ["", "timeout"]


def test_a_rolled_back_line_is_told_to_nobody(world: World, tmp_path: Path) -> None:
    make(world, tmp_path, "https://hooks.example/", ("frozen",))
    root = world.open_root()

    class Undone(Exception):
        pass

    with pytest.raises(Undone), transaction(world.make_session) as session:
        notifications.notice_frozen(session, world.budget(root), "x", now=database_now(session))
        session.flush()
        assert len(session.scalars(select(Delivery)).all()) == 1
        raise Undone
    assert deliveries(world) == []


def test_a_webhook_hears_of_its_kinds_alone_and_of_nothing_once_it_has_ended(
    world: World, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    url = f"http://127.0.0.1:{port}/"
    make(world, tmp_path, url, ("threshold",), key="other kind")
    made = make(world, tmp_path, url, key="this kind")
    world.propose_root()
    use = webhooks(world, tmp_path)
    ended = use.end(world.people["admin"], UUID(made["id"]))
    assert ended["ended_at"] is not None
    assert use.end(world.people["admin"], UUID(made["id"])) == ended
    with receiving(port, log):
        assert sender(world, tmp_path).send_due() == 0
    assert received(log) == []
    (row,) = deliveries(world)
    assert (row.state, row.failure) == ("given_up", ENDED)
    (line,) = use.deliveries(world.people["admin"], UUID(made["id"]), None, 10)
    assert (line["id"], line["kind"]) == (str(row.id), "approval")


def test_the_log_pages_through_what_was_sent_to_one_webhook(world: World, tmp_path: Path) -> None:
    made = make(world, tmp_path, "https://hooks.example/", ("frozen",))
    root = world.budget(world.open_root())
    with transaction(world.make_session) as session:
        for number in range(5):
            root.last_seq = 100 + number
            notifications.notice_frozen(session, root, "x", now=database_now(session))
    use, admin, webhook = webhooks(world, tmp_path), world.people["admin"], UUID(made["id"])
    seen: list[int] = []
    before: UUID | None = None
    while page := use.deliveries(admin, webhook, before, 2):
        seen += [line["notification_id"] for line in page]
        before = UUID(page[-1]["id"])
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)
    with pytest.raises(NotFound):
        use.deliveries(admin, webhook, webhook, 2)


def test_two_senders_at_once_send_a_delivery_once(world: World, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    make(world, tmp_path, f"http://127.0.0.1:{port}/")
    world.propose_root()
    first, second = sender(world, tmp_path), sender(world, tmp_path)
    with receiving(port, log):
        assert first.send_due() + second.send_due() == 1
        make_due(world)
        assert second.send_due() == 0
    assert len(received(log)) == 1


def test_two_sender_programs_on_one_database_send_each_delivery_once(
    postgresql_url: str, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    engine = make_engine(postgresql_url)
    environment = {
        **os.environ,
        "EPSILON_DATABASE_URL": postgresql_url,
        "EPSILON_HOME": str(tmp_path / "home"),
        "EPSILON_WEBHOOK_KEY_FILE": str(tmp_path / "keys" / "webhook.key"),
    }
    with new_world(make_session_maker(engine), tmp_path) as world, receiving(port, log):
        make(world, tmp_path, f"http://127.0.0.1:{port}/", ("frozen",))
        root = world.budget(world.open_root())
        with transaction(world.make_session) as session:
            for number in range(12):
                root.last_seq = 100 + number
                notifications.notice_frozen(session, root, "x", now=database_now(session))
        command = [sys.executable, "-m", "app.cli", "send"]
        programs = [subprocess.Popen(command, env=environment) for _ in range(2)]
        try:
            for _ in range(1200):
                if all(row.state == "sent" for row in deliveries(world)):
                    break
                assert [each.poll() for each in programs] == [None, None]
                time.sleep(0.1)
            for each in programs:
                each.terminate()
            assert [each.wait() for each in programs] == [0, 0]
        finally:
            for each in programs:
                each.kill()
                each.wait()
        rows = deliveries(world)
    engine.dispose()
    assert [(row.state, row.attempts) for row in rows] == [("sent", 1)] * 12
    ids = sorted(each["headers"]["webhook-id"] for each in received(log))
    assert ids == sorted(str(row.id) for row in rows)


def test_the_secret_is_shown_once_and_stands_neither_in_the_database_nor_in_the_trail(
    world: World, tmp_path: Path
) -> None:
    url = "https://hooks.example/path-token"
    made = make(world, tmp_path, url)
    again = make(world, tmp_path, url)
    assert again == {**made, "secret": None}
    raw = base64.b64decode(made["secret"].removeprefix("whsec_"))
    assert len(raw) == 32
    path = tmp_path / "keys" / "webhook.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert raw != path.read_bytes()
    with snapshot(world.make_session) as session:
        tables = ("webhooks", "audit_events", "idempotency_keys", "notifications")
        from sqlalchemy import text

        dump = str([session.execute(text(f"SELECT * FROM {each}")).all() for each in tables])
    for form in (made["secret"], raw.hex(), base64.b64encode(raw).decode()):
        assert form not in dump
    assert "path-token" not in str(events(world, "webhook.created"))


def test_another_key_file_signs_nothing_rather_than_something_else(
    world: World, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    make(world, tmp_path, f"http://127.0.0.1:{port}/")
    path = tmp_path / "keys" / "webhook.key"
    path.write_bytes(os.urandom(32))
    world.propose_root()
    with receiving(port, log):
        assert sender(world, tmp_path).send_due() == 0
    assert received(log) == []
    assert deliveries(world)[0].failure == "key-refused"
    path.chmod(0o644)
    with pytest.raises(KeyFileUnusable):
        make(world, tmp_path, "https://hooks.example/", key="two")


def test_webhooks_are_an_administrators_and_there_are_few(world: World, tmp_path: Path) -> None:
    use = webhooks(world, tmp_path)
    request = WebhookRequest("https://hooks.example/", ("approval",))
    for who in ("officer", "auditor", "engineer"):
        with pytest.raises(NotAllowed):
            use.create(world.people[who], request, keyed(world, who))
        with pytest.raises(NotAllowed):
            use.list(world.people[who])
    for number in range(WEBHOOKS_MOST):
        make(world, tmp_path, "https://hooks.example/", key=str(number))
    with pytest.raises(InvalidParameter):
        make(world, tmp_path, "https://hooks.example/", key="one more")
    for kinds in ((), ("approval", "approval"), ("gossip",)):
        with pytest.raises(InvalidParameter):
            make(world, tmp_path, "https://hooks.example/", kinds, key="kinds")


def test_a_line_is_written_once_for_each_webhook_by_the_databases_word(
    world: World, tmp_path: Path
) -> None:
    from sqlalchemy.exc import IntegrityError

    from app.services import deliveries as steps

    make(world, tmp_path, "https://hooks.example/")
    world.propose_root()
    with pytest.raises(IntegrityError), transaction(world.make_session) as session:
        line = session.scalars(select(Notification)).one()
        steps.queue(session, line, now=database_now(session))
        session.flush()


def test_refusals_that_no_writer_decides_count_toward_a_burst_too(world: World) -> None:
    root = world.open_root()
    world.reserve(root, {"type": "pure", "epsilon": "0.5"}, 1)
    for _ in range(notifications.BURST_REFUSALS):
        with pytest.raises(LowerRefused):
            world.change(root, "lower", epsilon=Decimal("0.25"))
    with snapshot(world.make_session) as session:
        told = session.scalars(
            select(Notification.subject).where(Notification.kind == "refusals")
        ).all()
    assert told == [str(world.people["officer"].principal_id)]
