"""What we ship stands on permissive licences: never GPL or AGPL, LGPL for one optional driver."""

import re
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
# `torch-needs` is what torch asks for beside itself; the CUDA libraries of some torch builds are
# not of the lock, and not of this project's choosing.
RUNTIME_EXTRAS = ("worker", "postgres", "embedded", "reports", "torch-needs")

# SPDX identifiers, and the names that older metadata uses for the same licences.
ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT"),
    *("MIT-0", "MPL-2.0", "PSF-2.0", "Zlib"),
    *("Apache 2.0", "Apache Software License", "BSD License", "ISC License (ISCL)", "MIT License"),
    "Mozilla Public License 2.0 (MPL 2.0)",
}
# The driver of PostgreSQL, which nobody gets without asking for the extra `postgres`.
ALLOWED_FOR = {"psycopg": {"LGPL-3.0-only"}, "psycopg-binary": {"LGPL-3.0-only"}}


def licences_of(facts: metadata.PackageMetadata) -> str:
    """The licence of a distribution as an SPDX-like expression; "" where it states none.

    Several classifiers count as AND: where they mean a choice, each of them has to be allowed.
    """
    if "License-Expression" in facts:
        return facts["License-Expression"]
    classifiers = [
        line.rsplit(" :: ", 1)[-1]
        for line in facts.get_all("Classifier") or []
        if line.startswith("License :: ")
    ]
    if classifiers:
        return " AND ".join(f"{{{name}}}" for name in classifiers)
    said = facts["License"].strip() if "License" in facts else ""
    return f"{{{said}}}" if said and "\n" not in said else ""


def is_allowed(name: str, expression: str) -> bool:
    """Whether a distribution may be shipped under this expression: any OR, every AND."""
    allowed = ALLOWED | ALLOWED_FOR.get(name, set())
    # {a name with spaces}, a parenthesis, an operator, an identifier
    words = re.findall(r"\{[^}]*\}|[()]|[^\s()]+", expression)

    def either() -> bool:
        verdict = every()
        while words and words[0] == "OR":
            words.pop(0)
            verdict = every() or verdict
        return verdict

    def every() -> bool:
        verdict = one()
        while words and words[0] == "AND":
            words.pop(0)
            verdict = one() and verdict
        return verdict

    def one() -> bool:
        word = words.pop(0) if words else ""
        if word == "(":
            verdict = either()
            return bool(words) and words.pop(0) == ")" and verdict
        if words and words[0] == "WITH":
            del words[:2]  # an exception only adds permissions
        return word.strip("{}") in allowed

    return either() and not words


def runtime_distributions(extras: Iterable[str]) -> dict[str, metadata.Distribution]:
    """All that comes with the project and these extras, and what that asks for in turn."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting = [(text, "") for text in project["dependencies"]]
    waiting += [(text, "") for extra in extras for text in project["optional-dependencies"][extra]]
    found: dict[str, metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    while waiting:
        text, extra_of_asker = waiting.pop()
        asked = Requirement(text)
        if asked.marker is not None and not asked.marker.evaluate({"extra": extra_of_asker}):
            continue
        name = canonicalize_name(asked.name)
        found.setdefault(name, metadata.distribution(name))
        for extra in {"", *asked.extras}:
            if (name, extra) not in seen and name != "torch":
                seen.add((name, extra))
                waiting += [(needs, extra) for needs in found[name].requires or []]
    return found


def test_every_runtime_distribution_is_under_an_allowed_licence() -> None:
    distributions = runtime_distributions(RUNTIME_EXTRAS)
    refused = {
        name: licences_of(distribution.metadata)
        for name, distribution in distributions.items()
        if not is_allowed(name, licences_of(distribution.metadata))
    }
    assert refused == {}
    assert {"fastapi", "celery", "dp-accounting", "opendp", "torch", "psycopg"} <= set(
        distributions
    )
    assert len(distributions) > 40


def test_nobody_gets_an_lgpl_driver_without_asking_for_postgres() -> None:
    others = [extra for extra in RUNTIME_EXTRAS if extra != "postgres"]
    assert not set(ALLOWED_FOR) & set(runtime_distributions(others))


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("chain", "License-Expression", "GPL-3.0-or-later"),
        ("chain", "License-Expression", "AGPL-3.0-only"),
        ("chain", "License-Expression", "MIT AND (BSD-3-Clause AND GPL-2.0-only)"),
        ("chain", "License-Expression", "MIT GPL-2.0-only"),
        ("chain", "License-Expression", "(MIT"),
        ("chain", "License-Expression", "LGPL-3.0-only"),
        ("psycopg", "License-Expression", "GPL-3.0-only"),
        ("chain", "Classifier", "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"),
        ("chain", "License", "GPL-3"),
        ("chain", "License", "free for academic use"),
        ("chain", "Summary", "a distribution that states no licence"),
    ],
)
def test_a_distribution_under_another_licence_would_be_refused(
    name: str, field: str, value: str, tmp_path: Path
) -> None:
    folder = tmp_path / f"{name}-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\n{field}: {value}\n")
    facts = metadata.Distribution.at(folder).metadata
    assert not is_allowed(name, licences_of(facts))


@pytest.mark.parametrize(
    "expression",
    ["MIT", "MIT OR GPL-2.0-only", "Apache-2.0 WITH LLVM-exception AND (MIT OR AGPL-3.0-only)"],
)
def test_a_choice_that_includes_an_allowed_licence_is_allowed(expression: str) -> None:
    assert is_allowed("chain", expression)
