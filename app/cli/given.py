"""What a command line names: a file with a job, and the dataset of a SELECT."""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from app.cli.terminal import Ended, fail

Document = dict[str, Any]

FROM: Final = re.compile(r"\bfrom\s+(?:\"([^\"]+)\"|([A-Za-z_][A-Za-z0-9_]*))", re.IGNORECASE)
STDIN: Final = "-"


class _AsWritten(yaml.SafeLoader):
    """YAML in which a number with a point or an exponent stays the text that was written.

    No field of the service is a binary number: amounts are decimal strings, to the last digit.
    """


def _as_written(loader: _AsWritten, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


for _tag in ("float", "timestamp"):
    _AsWritten.add_constructor(f"tag:yaml.org,2002:{_tag}", _as_written)


def read_document(file: str) -> Document:
    """An object from a JSON or YAML file, or from the standard input for `-`; or the command ends.

    A JSON text is read as JSON, whose numbers are refused by the service where it wants decimals.
    """
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file} cannot be read ({type(error).__name__})", Ended.UNREADABLE)
    try:
        found = json.loads(text)
    except ValueError:
        try:
            found = yaml.load(text, Loader=_AsWritten)  # noqa: S506 - a SafeLoader
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = "" if mark is None else f", line {mark.line + 1}"
            fail(f"{file} is neither JSON nor YAML{where}", Ended.UNREADABLE)
    if not isinstance(found, dict):
        fail(f"{file} holds no object", Ended.UNREADABLE)
    return found


def dataset_of_sql(text: str) -> str:
    """The name of the dataset that a SELECT names in its FROM; or the command ends."""
    match = FROM.search(text)
    if match is None:
        fail("FROM names the dataset", Ended.UNREADABLE)
    return match[1] or match[2]
