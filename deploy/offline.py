"""Fill a folder from which the service is installed on a machine without any network.

`python3 dev.py wheels FOLDER` runs it, on a machine of the same system, processor and Python. The
folder holds a wheel of each package that an image holds, of this checkout with its page, and of
torch, and one list that names each by its hash: nothing else can be installed by it.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.images.locked import locked

ROOT: Final = Path(__file__).resolve().parent.parent
IMAGES: Final = ROOT / "deploy" / "images"
LIST: Final = "install.txt"
# what an image of a worker holds; an image of the service holds less
NAMES: Final = ("service.txt", "worker.txt")
# made or picked here, so their hashes are those of what lies in the folder
MADE_HERE: Final = ("epsilon_ledger-*.whl", "torch-*.whl")
LEFT_OUT: Final = (".*", "node_modules", "__pycache__", "build", "dist", "*.egg-info")
PIP: Final = ("--disable-pip-version-check", "--no-input")


class NotFilled(Exception):
    """The folder cannot be filled; the text is one line that says why."""


def entries() -> str:
    """The entries of the lock for what the programs need, with their hashes."""
    names = [name for file in NAMES for name in (IMAGES / file).read_text("utf-8").split()]
    return locked((ROOT / "requirements.lock").read_text("utf-8"), names)


def fill_commands(folder: Path, source: Path, *, torch_links: str = "") -> list[list[str]]:
    """The arguments of pip that fill the folder, in their order.

    source: a copy of this checkout, beside which a build may leave its files.
    torch_links: a folder or page that holds the build of torch to take.
    """
    download = ["download", *PIP, "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    torch = ["-r", str(ROOT / "requirements-torch.txt")]
    return [
        [*download, "--require-hashes", "-r", str(folder / LIST)],
        [*download, *torch, *(["--find-links", torch_links] if torch_links else [])],
        [
            "wheel",
            *PIP,
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            str(folder),
            str(source),
        ],
    ]


def install_command(folder: Path) -> list[str]:
    """The arguments of pip that install from the folder, and from nowhere else."""
    where = ["--no-index", "--find-links", str(folder)]
    return ["install", *PIP, *where, "--no-deps", "--require-hashes", "-r", str(folder / LIST)]


def named_by_hash(wheel: Path) -> str:
    """The entry of a wheel that lies in the folder."""
    name, version = wheel.name.split("-")[:2]
    # a build that is named behind the version is another file and not another version
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name.replace('_', '-')}=={version} --hash=sha256:{digest}\n"


def fill(folder: Path) -> None:
    """Fill it; what lies in it already is left, and what has another hash is refused at the end.

    Raises:
        NotFilled: pip failed, or found no wheel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in MADE_HERE:
        for old in folder.glob(pattern):
            old.unlink()
    (folder / LIST).write_text(entries(), "utf-8")
    links = os.environ.get("EPSILON_TORCH_FIND_LINKS", "")
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        # without what an earlier build has left: it would come along in the wheel
        shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*LEFT_OUT))
        for command in fill_commands(folder, source, torch_links=links):
            if subprocess.run([sys.executable, "-m", "pip", *command], check=False).returncode:  # noqa: S603
                raise NotFilled(f"pip {command[0]} failed")
    with (folder / LIST).open("a", encoding="utf-8") as file:
        for pattern in MADE_HERE:
            (wheel,) = folder.glob(pattern)
            file.write(named_by_hash(wheel))


def main(arguments: Sequence[str]) -> int:
    """The command: a folder; 1 where it could not be filled, 2 for another command line."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("python3 dev.py wheels FOLDER\n")
        return 2
    folder = Path(arguments[0])
    try:
        fill(folder)
    except NotFilled as reason:
        sys.stderr.write(f"{folder} is not whole: {reason}\n")
        return 1
    count = len(re.findall(r"==", (folder / LIST).read_text("utf-8")))
    sys.stdout.write(
        f"{folder} holds what its {LIST} names, {count} packages. Without a network:\n"
    )
    sys.stdout.write(
        f"  python3 -m venv epsilon && epsilon/bin/pip {shlex.join(install_command(folder))}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
