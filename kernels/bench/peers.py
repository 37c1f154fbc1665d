"""The other engine of the measurements, in a virtual environment of its own.

It must run in the process of the engines that it is compared with, so that all of them see the same
torch and the same machine: its environment holds its own packages without what they ask for, and is
searched behind everything else.
"""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

PACKAGES = Path(__file__).with_name("peers.txt")
FOLDER = Path(sys.prefix) / "peers" / "training"


def prepare(folder: Path = FOLDER) -> str | None:
    """Make the environment where it is not there yet, and let this process import from it.

    Returns:
        None, or in one line why the peer cannot be measured.
    """
    ready = folder / "ready"
    try:
        if not ready.is_file() or ready.read_text() != PACKAGES.read_text():
            venv.create(folder, clear=True)
            install = [sys.executable, "-m", "pip", "--python", str(folder), "install", "--quiet"]
            install += ["--no-deps", "--require-hashes", "-r", str(PACKAGES)]
            done = subprocess.run(install, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode != 0:
                return (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            ready.write_text(PACKAGES.read_text())
    except (OSError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}: {error}"
    home = {"base": str(folder), "platbase": str(folder)}
    sys.path.append(sysconfig.get_path("purelib", "venv", vars=home))
    return None
