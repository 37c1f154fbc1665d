"""The JSON schema of a report (2020-12): sections by hand, the evidence as its types have it.

`report.schema.json` is one file, so that whoever gets a report can check its form without this
service. Its definitions of the evidence are written from the TypedDicts of `evidence.py` by
`dev.py generate`, and a test compares them.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import NoneType, UnionType
from typing import Any, Final, Literal, NotRequired, get_args, get_origin, get_type_hints

from app.reporting.evidence import Evidence

NAME: Final = "report.schema.json"
PREFIX: Final = "evidence"
_PLAIN: Final[Mapping[Any, str]] = {
    str: "string",
    int: "integer",
    bool: "boolean",
    NoneType: "null",
}


@cache
def report_schema() -> dict[str, Any]:
    """The schema as it is shipped."""
    document: dict[str, Any] = json.loads((files("app.reporting.schema") / NAME).read_text("utf-8"))
    return document


def with_evidence(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with its definitions of the evidence written anew from the types."""
    kept = {
        name: each for name, each in schema["$defs"].items() if name.partition("_")[0] != PREFIX
    }
    written: dict[str, Any] = {}
    _object(Evidence, PREFIX, written)
    return {**schema, "$defs": {**kept, **written}}


def schema_text(schema: Mapping[str, Any]) -> str:
    """The text of the file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _object(form: Any, name: str, written: dict[str, Any]) -> dict[str, str]:
    """Write the definition of a TypedDict, and of all in it; a reference to it."""
    reference = {"$ref": f"#/$defs/{name}"}
    if name in written:
        return reference
    hints = get_type_hints(form, include_extras=True)
    written[name] = {}  # holds its place before what it refers to
    written[name] |= {
        "type": "object",
        "properties": {key: _form(hint, written) for key, hint in hints.items()},
        "required": [key for key in hints if key in form.__required_keys__],
        "additionalProperties": False,
    }
    return reference


def _form(hint: Any, written: dict[str, Any]) -> dict[str, Any]:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is NotRequired:
        return _form(inner[0], written)
    if origin is UnionType:
        return {"anyOf": [_form(each, written) for each in inner]}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin is list:
        return {"type": "array", "items": _form(inner[0], written)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _form(inner[1], written)}
    if hint is Any:
        return {"$ref": "#/$defs/canonical"}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    name = f"{PREFIX}_{hint.__name__.removesuffix('Evidence').lower()}"
    return _object(hint, name, written)
