#!/usr/bin/env python3
"""Set up this checkout and run it: `python3 dev.py VERB`. Nothing but Python >= 3.11 is needed.

The first call makes `.venv` beside this file and installs the hashed lock into it, then torch by a
call of its own; a stamp of the lock files lets every later call start at once. Only the standard
library is used here, and down to `step_aside` only what Python 3.6 understands too (hence quoted
annotations), so that an old Python can look for a newer one.
"""

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: two set-ups at once are not kept apart there
    fcntl = None  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "set-up.stamp"
LOG = VENV / "set-up.log"
LOCKS = ("requirements.lock", "requirements-torch.txt", "pyproject.toml")

OLDEST = (3, 11)
NEWEST = (3, 14)  # the newest for which every binary package of the lock has wheels
DISK_NEEDED_GB = 3.3
PROGRESS_EVERY_S = 20
FULL_COUNTS = ("--long", "--races", "--chaos", "--spark", "--production")

USAGE = """\
python3 dev.py VERB

  demo [--once] [--json] [--port N]   govern a real table and a real training run; then keep serving
  up [--port N]                       the service with its own database, broker and worker
  test [--long] [--races] [--chaos] [--spark] [PYTEST ARGUMENTS]
                                      the test suite; three flags add full counts, hours of them;
                                      --spark adds Spark (400 MB, the first time) and needs Java
  test --production                   the production topology alone, in full: two APIs, dispatch,
                                      sender and three workers on PostgreSQL and a broker, through
                                      kills, a migration and a rolling restart
  check                               style, types, import contracts, licences, migrations, the page
  generate                            write openapi.yaml, the schema of reports, the page's types,
                                      THIRD-PARTY-NOTICES
  screens                             a picture of every page, of the demo's house (docs/screens)
  bench NAME                          one benchmark; without NAME, their names
  wheels FOLDER                       what a machine without a network installs the service from
"""


class SetUpFailed(Exception):
    """The set-up cannot go on; the text is one line that says what to do."""


def main(arguments: "list[str]") -> int:
    """Run one verb; its exit code is the verb's own."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        print(f"dev.py: no verb {verb!r}\n\n{USAGE}", end="", file=sys.stderr)
        return 2
    try:
        if not is_suitable(sys.version_info[:2], has_venv=has_ensurepip()):
            step_aside(arguments)
        set_up()
        compile_kernels()
        if verb in ("demo", "up", "test", "screens", "wheels"):
            build_page()
        if verb == "test" and "--spark" in rest:
            bring_spark()
    except SetUpFailed as failure:
        print(f"dev.py: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dev.py: stopped; call again to go on", file=sys.stderr)
        return 130
    return VERBS[verb](rest)


# --- the right Python ---------------------------------------------------------------------------


def is_suitable(version: "tuple[int, ...]", *, has_venv: bool) -> bool:
    """Whether a Python of that version can make the environment."""
    return OLDEST <= tuple(version[:2]) <= NEWEST and has_venv


def has_ensurepip() -> bool:
    """Whether this Python can put pip into a new environment; Debian splits that off."""
    return importlib.util.find_spec("ensurepip") is not None


def find_python(folders: "list[str]") -> "str | None":
    """The newest suitable Python in these folders, asked by running it: a shim may lead nowhere."""
    question = "import sys, ensurepip; print(sys.version_info[0], sys.version_info[1])"
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        for folder in folders:
            path = shutil.which(f"python3.{minor}", path=folder)
            if path is None:
                continue
            try:
                answer = subprocess.check_output(
                    [path, "-c", question], stderr=subprocess.DEVNULL, timeout=20
                )
            except (OSError, subprocess.SubprocessError):
                continue
            if answer.decode().split() == ["3", str(minor)]:
                return path
    return None


def step_aside(arguments: "list[str]") -> None:
    """Go on under another Python of this machine, where this one will not do.

    Raises:
        SetUpFailed: there is none, and this Python is too old or cannot make environments.
    """
    if is_set_up():
        return  # any Python can start what is already made
    found = find_python(os.environ.get("PATH", os.defpath).split(os.pathsep))
    if found is not None:
        replace_process([found, str(ROOT / "dev.py"), *arguments])
    if not has_ensurepip():
        raise SetUpFailed("this Python cannot make environments: apt-get install python3-venv")
    if sys.version_info[:2] < OLDEST:
        have = platform.python_version()
        raise SetUpFailed(
            f"Python 3.11 or newer is needed and this is {have}: install one, for example "
            "apt-get install python3.11 python3.11-venv, and call python3.11 dev.py"
        )


# --- the environment ----------------------------------------------------------------------------


def venv_program(name: str) -> Path:
    """Where the environment keeps a program."""
    return VENV / ("Scripts" if os.name == "nt" else "bin") / name


def stamp() -> str:
    """What the environment was made from: the lock files, pyproject.toml and its own Python."""
    digest = hashlib.sha256()
    for name in LOCKS:
        digest.update(hashlib.sha256((ROOT / name).read_bytes()).digest())
    made_with = VENV / "pyvenv.cfg"
    versions = [
        line for line in made_with.read_text().splitlines() if line.lower().startswith("version")
    ]
    # the real path too: after an upgrade of the system `python3` may lead to another version
    digest.update(repr((versions, os.path.realpath(venv_program("python")))).encode())
    return digest.hexdigest()


def is_set_up() -> bool:
    """Whether the environment stands and was made from what the checkout says now."""
    try:
        return venv_program("python").exists() and STAMP.read_text() == stamp()
    except OSError:
        return False


def set_up() -> None:
    """Make or renew `.venv`; returns at once where its stamp is right.

    Raises:
        SetUpFailed: says in one line what to do.
    """
    if is_set_up():
        return
    with only_one_at_a_time():
        if is_set_up():
            return  # the other call, for which we waited, did it
        started = time.monotonic()
        if not venv_works():
            make_venv()
        STAMP.unlink(missing_ok=True)
        LOG.unlink(missing_ok=True)
        say("installing the packages of requirements.lock (1 to 3 minutes the first time)")
        pip_install("--require-hashes", "-r", str(ROOT / "requirements.lock"))
        say(torch_announcement(platform.system(), platform.machine()))
        links = os.environ.get("EPSILON_TORCH_FIND_LINKS")
        pip_install(
            "-r", str(ROOT / "requirements-torch.txt"), *(["--find-links", links] if links else [])
        )
        pip_install("--no-deps", "--no-build-isolation", "-e", str(ROOT))
        STAMP.write_text(stamp())
        say(f"ready after {time.monotonic() - started:.0f} s")


def bring_spark() -> None:
    """Install Spark into the environment, unless it is there.

    Raises:
        SetUpFailed: there is no Java to run it, or pip failed.
    """
    if os.environ.get("JAVA_HOME") is None and shutil.which("java") is None:
        raise SetUpFailed("Spark runs on Java: apt-get install openjdk-17-jre-headless")
    say("installing Spark, unless it is there (400 MB)")
    # it comes as sources, and is built by what the lock holds
    spark = str(ROOT / "requirements-spark.txt")
    pip_install("--require-hashes", "--no-deps", "--no-build-isolation", "-r", spark)


def compile_kernels() -> None:
    """Compile the kernels where their sources have changed; training runs without them too."""
    from kernels.native import compile as native  # standard library only

    if native.is_current():
        return
    with only_one_at_a_time():
        if not native.is_current():
            say("compiling the kernels (half a minute, once)")
            native.main()


def build_page() -> None:
    """Build the web page where its sources have changed; the service runs without it too."""
    from frontend import build  # standard library only

    if build.is_current():
        return
    with only_one_at_a_time():
        try:
            build.build(say)
        except build.NotBuilt as reason:
            say(f"the page is not built, `/` says how: {reason}")


@contextmanager
def only_one_at_a_time() -> "Iterator[None]":
    """Hold the checkout's set-up lock; the system drops it with the process."""
    with (ROOT / ".venv.lock").open("w") as handle:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another dev.py is setting up; waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def venv_works() -> bool:
    """Whether `.venv` holds a Python of a suitable version that runs and has pip."""
    question = f"import sys, pip; sys.exit(not ({OLDEST} <= sys.version_info[:2]))"
    try:
        answer = subprocess.run(
            [str(venv_program("python")), "-c", question], capture_output=True, check=False
        )
    except OSError:
        return False
    return answer.returncode == 0


def make_venv() -> None:
    """Make `.venv` anew.

    Raises:
        SetUpFailed: no room, or this Python cannot.
    """
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if free_gb < DISK_NEEDED_GB:
        raise SetUpFailed(
            f"{DISK_NEEDED_GB} GB of disk are needed here and {free_gb:.1f} are free: make room"
        )
    say(f"making .venv with Python {platform.python_version()}")
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        said = (answer.stdout + answer.stderr).strip().splitlines() or ["it said nothing"]
        raise SetUpFailed(f"could not make .venv ({said[-1]}): apt-get install python3-venv")


def torch_announcement(system: str, machine: str) -> str:
    """How large the download of torch will be on such a machine, said before it begins."""
    if system == "Linux" and machine.lower() in ("x86_64", "amd64"):
        return (
            "installing torch: about 200 MB where pip finds a CPU build, else about 3 GB with CUDA "
            "(EPSILON_TORCH_FIND_LINKS names a folder or page with a CPU build)"
        )
    return "installing torch: about 200 MB"


def pip_install(*arguments: str) -> None:
    """Run pip in the environment, with a line now and then while it works.

    Raises:
        SetUpFailed: pip failed; says where its log is, or that the disk is full.
    """
    command = [str(venv_program("python")), "-m", "pip", "install", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--log", str(LOG), *arguments]
    started = time.monotonic()
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while True:
            try:
                _, said = process.communicate(timeout=PROGRESS_EVERY_S)
                break
            except subprocess.TimeoutExpired:
                say(f"  still installing, {time.monotonic() - started:.0f} s")
            except KeyboardInterrupt:
                process.terminate()
                raise
    if process.returncode != 0:
        if "No space left" in said:
            raise SetUpFailed("the disk is full: make room and call again")
        errors = [line for line in said.splitlines() if line.startswith("ERROR")]
        reason = errors[0] if errors else "pip failed"
        raise SetUpFailed(f"{reason} (network and proxy working? the whole story: {LOG})")


def say(line: str) -> None:
    """One line about the set-up, on stderr: stdout belongs to the verb."""
    print(f"dev.py: {line}", file=sys.stderr, flush=True)


# --- the verbs ----------------------------------------------------------------------------------


def replace_process(command: "list[str]") -> int:
    """Become another program; signals and the exit code are then its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":
        raise SystemExit(subprocess.call(command))
    os.execv(command[0], command)


def run_module(name: str, arguments: "list[str]") -> int:
    """Become `python -m NAME` of the environment, in the checkout."""
    os.chdir(ROOT)
    return replace_process([str(venv_program("python")), "-m", name, *arguments])


def demo(arguments: "list[str]") -> int:
    """Run the demo."""
    return run_module("examples.demo", arguments)


def up(arguments: "list[str]") -> int:
    """Run the service."""
    return run_module("app.cli", ["up", *arguments])


def test(arguments: "list[str]") -> int:
    """Run the test suite; each flag adds what is marked by its name to what runs without one.

    `--production` by itself names its own tests: the rest of the suite has nothing to do with it.
    The whole suite runs in two processes, what is named runs in one, where it can be followed.
    """
    asked = [flag[2:] for flag in FULL_COUNTS if flag in arguments]
    short = " and ".join(f"not {flag[2:]}" for flag in FULL_COUNTS)
    full = ["-m", " or ".join([f"({short})", *asked])] if asked else []
    named = [argument for argument in arguments if argument not in FULL_COUNTS]
    if asked == ["production"] and not any(not word.startswith("-") for word in named):
        named.append("tests/production")
    apart = [] if named else ["-n", "2", "--dist", "worksteal"]
    return run_module("pytest", [*apart, *full, *named])


def generate(arguments: "list[str]") -> int:
    """Write the files that are generated from the code."""
    schema = [str(venv_program("python")), "-m", "app.reporting.schema"]
    described = [str(venv_program("python")), "-m", "app.cli", "openapi", "--write", *arguments]
    # after the page's packages, which it reads
    notices = [str(venv_program("python")), "-m", "deploy.notices"]
    for command in (schema, described):
        failed = subprocess.run(command, cwd=ROOT, check=False).returncode
        if failed:
            return failed
    from frontend import build

    try:
        build.generate(say)
    except build.NotBuilt as reason:
        say(f"the page's types and the notices are not written: {reason}")
        return 1
    return subprocess.run(notices, cwd=ROOT, check=False).returncode


def screens(arguments: "list[str]") -> int:
    """Take the pictures of the page."""
    return run_module("examples.demo.screens", arguments)


def bench(arguments: "list[str]") -> int:
    """Run one benchmark."""
    names = sorted(p.stem for p in (ROOT / "benchmarks").glob("*.py") if p.stem.isidentifier())
    if not arguments or arguments[0] not in names:
        print("benchmarks: " + (", ".join(n for n in names if n != "__init__") or "none yet"))
        return 2 if arguments else 0
    return run_module(f"benchmarks.{arguments[0]}", arguments[1:])


def wheels(arguments: "list[str]") -> int:
    """Fill a folder from which the service is installed without a network."""
    folder = [os.path.abspath(each) for each in arguments]  # noqa: PTH100 - a flag stays one
    return run_module("deploy.offline", folder if len(arguments) == 1 else arguments)


def check(arguments: "list[str]") -> int:
    """Run every check, also after one has failed; 0 only if all are clean."""
    if arguments:
        print("dev.py: check takes no arguments", file=sys.stderr)
        return 2
    python = str(venv_program("python"))
    checks = {
        "style": [python, "-m", "ruff", "check", "."],
        "format": [python, "-m", "ruff", "format", "--check", "."],
        "types": [python, "-m", "mypy"],
        "import contracts": [str(venv_program("lint-imports"))],
        "licences": [python, "-m", "pytest", "-q", "tests/test_licences.py"],
        "migrations": [python, "-m", "app.cli", "check-migrations"],
    }
    from frontend import build

    try:
        checks |= build.checks(say)
    except build.NotBuilt as reason:
        print(f"left out: the page's checks ({reason})", flush=True)
    failed = []
    for name, command in checks.items():
        started = time.monotonic()
        folder = build.FRONTEND if name.startswith("page: ") else ROOT
        answer = subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        verdict = "failed" if answer.returncode else "ok"
        print(f"{verdict:7}{name} ({time.monotonic() - started:.1f} s)", flush=True)
        if answer.returncode:
            failed.append(name)
            print(answer.stdout.decode(errors="replace"), flush=True)
    return 1 if failed else 0


VERBS: "dict[str, Callable[[list[str]], int]]" = {
    "demo": demo,
    "up": up,
    "test": test,
    "check": check,
    "generate": generate,
    "screens": screens,
    "bench": bench,
    "wheels": wheels,
}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
