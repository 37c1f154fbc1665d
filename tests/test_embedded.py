"""One tree holds one home, keeps its broker's messages and goes away whole."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app import embedded
from app.dispatch import broker
from app.embedded import HouseRefused
from app.settings import Settings
from app.supervision import Child, ProcessTree
from tests.servers import redis_client

pytestmark = [pytest.mark.processes, pytest.mark.own_servers]

# Stands in for the API where only the tree is looked at: it answers 200 to everything.
ANSWERING = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    def api(settings: Settings) -> Child:
        return Child("api", [sys.executable, "-S", "-c", ANSWERING, str(settings.port)])

    monkeypatch.setattr(embedded, "api_child", api)
    monkeypatch.setattr(embedded, "worker_child", lambda _: Child("worker", ["/bin/sleep", "60"]))


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[ProcessTree]:
    tree = ProcessTree(tmp_path / "logs")
    yield tree
    tree.stop()


def test_a_second_tree_in_the_same_home_is_refused(home: Path) -> None:
    with (
        embedded.only_one(home),
        pytest.raises(HouseRefused, match="EPSILON_HOME"),
        embedded.only_one(home),
    ):
        pytest.fail("two trees in one home")
    with embedded.only_one(home):
        pass


def test_a_port_that_is_taken_is_refused_before_anything_starts(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(home=home, port=taken.getsockname()[1])
        with pytest.raises(HouseRefused, match="--port"), embedded.running(settings):
            pass
    assert not (home / "ledger.sqlite3").exists()


def test_a_machine_without_a_broker_is_told_what_to_install(
    tree: ProcessTree, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "find_server", lambda: None)
    with ExitStack() as stack, pytest.raises(HouseRefused, match="EPSILON_BROKER_URL"):
        embedded.start_broker(tree, Settings(home=home), stack)


def test_another_broker_that_is_named_is_used_and_none_is_started(
    tree: ProcessTree, home: Path
) -> None:
    settings = Settings(home=home, broker_url="redis://elsewhere/0")
    with ExitStack() as stack:
        assert embedded.start_broker(tree, settings, stack) == settings
    assert tree.pids() == {}


def test_a_killed_broker_comes_back_with_its_messages(tree: ProcessTree, home: Path) -> None:
    home.mkdir()
    with ExitStack() as stack:
        settings = embedded.start_broker(tree, Settings(home=home), stack)
        with redis_client(settings.broker_url) as client:
            client.rpush("cpu", "a message")
        first = tree.pids()["broker"]
        os.kill(first, signal.SIGKILL)
        tree.wait_until(
            lambda: (
                tree.pids().get("broker", first) != first
                and embedded.broker_answers(home / "broker" / "socket")
            ),
            "the broker",
            within_s=10,
        )
        with redis_client(settings.broker_url) as client:
            assert client.lrange("cpu", 0, -1) == [b"a message"]


def test_a_home_too_deep_for_a_socket_address_still_gets_a_broker(
    tree: ProcessTree, home: Path
) -> None:
    deep = home / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    with ExitStack() as stack:
        settings = embedded.start_broker(tree, Settings(home=deep), stack)
        with redis_client(settings.broker_url) as client:
            assert client.ping()
        folder = Path(settings.broker_url.removeprefix("redis+socket://").partition("?")[0]).parent
        assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("stand_ins")
def test_the_first_key_is_given_once_and_no_process_is_left(home: Path) -> None:
    settings = Settings(home=home, port=0)
    with embedded.running(settings) as house:
        assert house.admin_key
        pids = house.tree.pids()
        assert set(pids) == {"broker", "worker", "api"}
        assert embedded.answers(f"{house.url}/healthz")
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())
    with embedded.running(settings) as house:
        assert house.admin_key is None


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_serving_and_leaves_the_handlers_as_they_were(
    home: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    with embedded.running(Settings(home=home, port=0)) as house:
        sender = threading.Timer(0.2, os.kill, (os.getpid(), number))
        sender.start()
        house.serve()
        sender.join()
    assert signal.getsignal(number) == before
