"""Renders the API's own description as one page of HTML.

Made from the same document as `openapi.yaml`, so the two cannot differ. Everything is escaped, the
one style sheet stands in the page, and there is no script: it opens behind any content policy.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Any, Final

Schema = Mapping[str, Any]

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --quiet: #57606a; --line: #d0d7de; --back: #fff;
  --panel: #f6f8fa; --link: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --quiet: #a2abb5; --line: #3a424b;
  --back: #14171b; --panel: #1c2127; --link: #8ab8ee; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); line-height: 1.5;
  font-family: system-ui, sans-serif; font-size: 1rem; }
main, header, nav { max-width: 60rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 2rem; }
h1 { font-size: 1.75rem; margin: 0; }
h2 { font-size: 1.25rem; margin: 3rem 0 0; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 2rem 0 .25rem; font-family: ui-monospace, monospace;
  overflow-wrap: anywhere; }
h4 { font-size: .875rem; margin: 1rem 0 .25rem; color: var(--quiet); }
.method { display: inline-block; min-width: 4.5em; font-weight: 700; }
a { color: var(--link); }
nav ul { columns: 16rem; padding: 0; list-style: none; font-size: .875rem; }
nav li { break-inside: avoid; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
caption { text-align: left; color: var(--quiet); font-weight: 600; padding-top: .75rem; }
.wide { overflow-x: auto; }
code, pre { font-family: ui-monospace, monospace; font-size: .875em; }
pre { background: var(--panel); padding: .75rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); }
"""


@dataclass(frozen=True, slots=True)
class Page:
    """html: UTF-8 bytes. style_source: what a content policy has to allow, `sha256-...`."""

    html: bytes
    style_source: str


def page(document: Mapping[str, Any]) -> Page:
    """The page of an OpenAPI document."""
    schemas: Mapping[str, Schema] = document["components"]["schemas"]
    by_tag: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["other"])[0]
            by_tag.setdefault(tag, []).append((path, method, operation))
    info = document["info"]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(info['title'])}: the API</title><style>{STYLE}</style></head><body>",
        f"<header><h1>{escape(info['title'])}</h1>",
        f"<p>{escape(info.get('summary', ''))} Version {escape(info['version'])}. ",
        "Privacy parameters are decimal strings; every refusal is "
        "<code>application/problem+json</code> with a stable <code>code</code>.</p></header>",
        _contents(by_tag),
        "<main>",
    ]
    for tag, operations_of_tag in by_tag.items():
        parts.append(f'<h2 id="{escape(tag)}">{escape(tag.capitalize())}</h2>')
        for path, method, operation in operations_of_tag:
            parts.extend(_operation(path, method, operation, schemas))
    parts.append("<h2>Forms</h2>")
    for name, schema in sorted(schemas.items()):
        parts.extend(_form(name, schema))
    parts.append("</main></body></html>")
    digest = base64.b64encode(sha256(STYLE.encode()).digest()).decode()
    return Page("\n".join(parts).encode(), f"sha256-{digest}")


def _contents(by_tag: Mapping[str, Sequence[tuple[str, str, Mapping[str, Any]]]]) -> str:
    items = [
        f'<li><a href="#{escape(operation["operationId"])}">{method.upper()} {escape(path)}</a>'
        for operations in by_tag.values()
        for path, method, operation in operations
    ]
    return '<nav aria-label="Routes"><ul>' + "\n".join(items) + "</ul></nav>"


def _operation(
    path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Schema]
) -> Iterator[str]:
    name = escape(operation["operationId"])
    yield f'<h3 id="{name}"><span class="method">{method.upper()}</span>{escape(path)}</h3>'
    yield f"<p>{_text(operation.get('description') or operation.get('summary', ''))}</p>"
    if parameters := operation.get("parameters"):
        rows = [
            (
                each["name"],
                each["in"],
                _type(each.get("schema", {})),
                "required" if each.get("required") else "",
                each.get("description", ""),
            )
            for each in parameters
        ]
        yield _table(("parameter", "in", "type", "", "meaning"), rows, "Parameters")
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h4>Body, {escape(media_type)}: {_type(content.get('schema', {}))}</h4>"
        for example in _examples(content, schemas):
            yield f"<pre>{escape(json.dumps(example, indent=2, ensure_ascii=False))}</pre>"
    answers = [
        (status, answer.get("description", ""), _answered(answer))
        for status, answer in sorted(operation.get("responses", {}).items())
    ]
    yield _table(("status", "meaning", "form"), answers, "Answers")


def _form(name: str, schema: Schema) -> Iterator[str]:
    yield f'<h3 id="form-{escape(name)}">{escape(name)}</h3>'
    if schema.get("description"):
        yield f"<p>{_text(schema['description'])}</p>"
    required = set(schema.get("required", ()))
    rows = [
        (
            field,
            _type(each),
            "required" if field in required else "",
            each.get("description", ""),
        )
        for field, each in schema.get("properties", {}).items()
    ]
    if rows:
        yield _table(("field", "type", "", "meaning"), rows, "Fields")


def _examples(content: Mapping[str, Any], schemas: Mapping[str, Schema]) -> list[Any]:
    if "example" in content:
        return [content["example"]]
    if "examples" in content:
        return [each["value"] for each in content["examples"].values()]
    name = str(content.get("schema", {}).get("$ref", "")).rpartition("/")[2]
    return list(schemas.get(name, {}).get("examples", ()))


def _answered(answer: Mapping[str, Any]) -> str:
    found = [
        _type(content["schema"]) if content.get("schema") else f"<code>{escape(media_type)}</code>"
        for media_type, content in answer.get("content", {}).items()
    ]
    return ", ".join(dict.fromkeys(found))


def _type(schema: Schema) -> str:
    """A schema in a few words, as HTML; a named one is a link to its fields."""
    if "$ref" in schema:
        name = escape(str(schema["$ref"]).rpartition("/")[2])
        return f'<a href="#form-{name}">{name}</a>'
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_type(each) for each in schema[several]))
    if "enum" in schema:
        return " ".join(f"<code>{escape(json.dumps(each))}</code>" for each in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    said = escape(str(schema.get("format") or schema.get("type") or "any"))
    if "pattern" in schema:
        said += f" <code>{escape(schema['pattern'])}</code>"
    return said


def _text(text: str) -> str:
    return escape(" ".join(text.split()))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A table; cells of a column called type or form are HTML already, all others are text."""
    is_html = [head in ("type", "form") for head in heads]
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td>{cell if raw else _text(cell)}</td>"
            for cell, raw in zip(row, is_html, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide" role="region" aria-label="{escape(caption)}" tabindex="0">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
