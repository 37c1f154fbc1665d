"""`export` goes to the service and leaves a whole bundle or none."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from tests.api.world import World, open_root, register, reservation_body
from tests.cli.conftest import Terminal

SignIn = Callable[[str], Terminal]


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """An address that answers one request with these bytes as they stand."""

    def answer() -> None:
        taken, _ = listening.accept()
        with taken:
            taken.recv(65536)
            taken.sendall(body)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def test_an_auditor_exports_a_bundle_that_verifies_and_an_engineer_gets_no_file(
    on_sqlite: World, sign_in: SignIn, tmp_path: Path
) -> None:
    dataset = register(on_sqlite)
    budget = open_root(on_sqlite, dataset)
    on_sqlite.made("/reservations", reservation_body(dataset, budget), by="ml_engineer")
    folder = tmp_path / "evidence"
    folder.mkdir()
    file = folder / "ledger.jsonl"
    refused = sign_in("ml_engineer").json("export", str(file), exit_code=4)
    assert refused["status"] == 403
    assert not list(folder.iterdir())
    auditor = sign_in("auditor")
    said = auditor.json("export", str(file))
    written = file.read_bytes()
    assert said == {
        "file": str(file),
        "lines": len(written.splitlines()),
        "bytes": len(written),
        "sha256": sha256(written).hexdigest(),
    }
    assert list(folder.iterdir()) == [file]
    assert auditor.json("verify", str(file), "--unsigned")["fault"] is None
    # what is there is not replaced, and a folder that is not there is said in one line
    assert auditor.run("export", str(file)).exit_code == 1
    assert file.read_bytes() == written
    lost = auditor.run("export", str(folder / "nowhere" / "ledger.jsonl"))
    assert (lost.exit_code, len(lost.output.splitlines())) == (1, 1)
    both = auditor.run("export", str(folder / "x"), "--from-database", "--url", auditor.url)
    assert both.exit_code == 2


@pytest.mark.parametrize(
    "head", ["Content-Length: 1000", "Connection: close"], ids=["cut off", "closed early"]
)
def test_an_answer_that_breaks_off_leaves_no_file_behind(
    head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("EPSILON_API_KEY", "el_key")
    folder = tmp_path / "evidence"
    folder.mkdir()
    line = json.dumps({"v": 1, "kind": "epsilon-ledger/bundle"}).encode() + b"\n"
    with answering(b"HTTP/1.1 200 OK\r\n" + head.encode() + b"\r\n\r\n" + line) as url:
        said = Terminal(url).run("export", str(folder / "ledger.jsonl"), "--url", url)
    assert said.exit_code == 5, said.output
    assert len(said.output.splitlines()) == 1
    assert not list(folder.iterdir())


def test_the_operator_is_told_in_one_line_that_a_database_is_no_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in (f"sqlite:///{tmp_path}/empty.sqlite3", f"sqlite:///{tmp_path}/no/folder.sqlite3"):
        monkeypatch.setenv("EPSILON_DATABASE_URL", url)
        said = Terminal("").run("export", "--from-database", str(tmp_path / "ledger.jsonl"))
        assert (said.exit_code, len(said.output.splitlines())) == (1, 1), said.output
    assert not (tmp_path / "ledger.jsonl").exists()
