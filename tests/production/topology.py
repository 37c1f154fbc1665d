"""The services of docker-compose.yml as processes of this machine, by their very commands.

PostgreSQL is a database of the tests' server, reached as the service's role; the broker is one of
the test's own, which may be killed. Secrets are files, as in the compose file.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import URL

from app.embedded import answers, free_port
from app.supervision import DIE_WITH_PARENT
from tests.chaos import Broker, own_broker
from tests.conftest import address, new_database_name, run_outside_transaction
from tests.patience import wait_until
from tests.production import compose
from tests.production.round_robin import RoundRobin, round_robin

# a loaded machine takes seconds to import what a program needs
START_WITHIN_S = 120.0
STOP_WITHIN_S = 60.0
MIGRATION_ATTEMPTS = 10
# an API ends by the very signal, once it has ended all else
STOPPED = (0, -signal.SIGTERM)


@dataclass
class Program:
    """A running service, its log, and its port if it has one."""

    service: str
    process: "subprocess.Popen[bytes]"
    log: Path
    port: int = 0

    def kill(self) -> None:
        """kill -9 of it and all that it has started, as when a machine is lost."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it as an engine does, by SIGTERM; the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_WITHIN_S)
        finally:
            self.kill()

    @property
    def is_up(self) -> bool:
        return self.process.poll() is None


@dataclass
class Topology:
    """What runs, and the one way to start more of it.

    version: a folder whose packages come before ours: how programs of another version are started.
    """

    folder: Path
    owner_url: str
    role: str
    broker: Broker
    balancer: RoundRobin
    running: list[Program] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    version: Path | None = None
    _started: int = 0

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def witness(self) -> Path:
        return self.folder / "witness"

    def of(self, service: str) -> list[Program]:
        return [each for each in self.running if each.service == service]

    def run(self, service: str, **options: str) -> str:
        """Run one that ends by itself; what it said."""
        done = subprocess.run(
            compose.command(service, **options),
            env=self._environment(service, 0),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def cli(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A command of the operator, in the surroundings of the API."""
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *words],
            env=self._environment("api", 0),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def migrate(self) -> None:
        """The job `migrate`, again where it found a table in use, as an engine tries it again."""
        for left in reversed(range(MIGRATION_ATTEMPTS)):
            # roles belong to the whole server, so two runs on it cannot have the same one
            with nullcontext() if left == 0 else suppress(AssertionError):
                self.run("migrate", role=self.role)
                break

    def start(self, service: str) -> Program:
        """Start one more of a service; for an API, `take_in` then waits until it is ready."""
        self._started += 1
        port = free_port("127.0.0.1") if service == "api" else 0
        options = {"host": "127.0.0.1", "port": str(port)} if service == "api" else {}
        log = self.folder / f"{service}-{self._started}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                # no run that is killed leaves anything behind
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    DIE_WITH_PARENT,
                    *compose.command(service, **options),
                ],
                env=self._environment(service, port),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        program = Program(service, process, log, port)
        self.running.append(program)
        return program

    def take_in(self, api: Program) -> None:
        """Wait until an API is ready, then let requests come to it."""
        url = f"http://127.0.0.1:{api.port}/readyz"
        wait_until(
            lambda: answers(url) or not api.is_up, what=api.log.read_text, within_s=START_WITHIN_S
        )
        assert api.is_up, api.log.read_text()
        self.balancer.add(api.port)

    def replace(self, program: Program) -> Program:
        """Start another in its place, and end it once that one has taken over."""
        new = self.start(program.service)
        if program.service == "api":
            self.take_in(new)
            self.balancer.remove(program.port)
        elif program.service == "worker":
            wait_until(
                lambda: b"ready." in new.log.read_bytes() or not new.is_up,
                what=new.log.read_text,
                within_s=START_WITHIN_S,
            )
        assert program.stop() in STOPPED, program.log.read_text()
        self.running.remove(program)
        return new

    def kill(self, program: Program) -> None:
        """kill -9, and start it again, as an engine does."""
        program.kill()
        self.running.remove(program)
        self.start(program.service)

    def end(self) -> None:
        """End everything, those that others lean on last."""
        for program in self.running:
            program.process.terminate()
        for program in self.running:
            with suppress(subprocess.TimeoutExpired):
                program.process.wait(STOP_WITHIN_S)
            program.kill()

    def logs(self) -> str:
        """The last words of everything, for who wonders why nothing happens."""
        words = [
            f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}"
            for path in sorted(self.folder.glob("*.log"))
        ]
        return "\n".join(words)

    def _environment(self, service: str, port: int) -> dict[str, str]:
        outside = {k: v for k, v in os.environ.items() if not k.startswith("EPSILON_")}
        given = {
            name: value.replace("/run/secrets", str(self.folder / "secrets"))
            for name, value in compose.environment(service).items()
        }
        if "EPSILON_PORT" in given:
            given |= {"EPSILON_HOST": "127.0.0.1", "EPSILON_PORT": str(port or 8000)}
        path = [str(self.version)] if self.version is not None else []
        return {
            **outside,
            **given,
            "EPSILON_HOME": str(self.home),
            "EPSILON_WITNESS_DIR": str(self.witness),
            "PYTHONPATH": os.pathsep.join([*path, str(compose.ROOT)]),
            # as in the images
            "PYTHONSAFEPATH": "1",
            "OMP_NUM_THREADS": "1",
            **self.settings,
        }


@contextmanager
def topology(server: URL, folder: Path, **settings: str) -> Iterator[Topology]:
    """A migrated database, its role, a broker, a balancer; nothing of the service runs yet."""
    role, database = f"epsilon_service_{os.urandom(5).hex()}", new_database_name()
    password = os.urandom(16).hex()
    secrets = folder / "secrets"
    secrets.mkdir(parents=True)
    with ExitStack() as stack:
        run_outside_transaction(server, f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        stack.callback(run_outside_transaction, server, f"DROP ROLE {role}")
        run_outside_transaction(server, f"CREATE DATABASE {database}")
        stack.callback(run_outside_transaction, server, f"DROP DATABASE {database} WITH (FORCE)")
        as_role = server.set(username=role, password=password)
        broker = stack.enter_context(own_broker())
        (secrets / "owner_database_url").write_text(address(server, database))
        (secrets / "database_url").write_text(address(as_role, database) + "\n")
        (secrets / "broker_url").write_text(broker.url)
        made = Topology(
            folder,
            address(server, database),
            role,
            broker,
            stack.enter_context(round_robin()),
            settings=settings,
        )
        stack.callback(made.end)
        yield made
