"""Every text that a user may read, found in the checkout: a new file is looked at at once."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = ("app", "workers", "kernels", "examples", "migrations")
TEXTS = ("*.html", "*.md", "*.txt", "*.j2", "*.typ", "*.css", "*.svg", "*.yaml", "*.yml", "*.toml")
BUILT = {"node_modules", "dist", ".venv", "web"}
PAGES = ("*.ts", "*.tsx", "*.html", "*.css")


def strings_of(path: Path, *, with_docstrings: bool) -> Iterator[tuple[str, str]]:
    """Every text in a Python file, docstrings only where they are shown."""
    tree = ast.parse(path.read_text("utf-8"))
    named = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    shown_nowhere = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, named) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) in shown_nowhere and not with_docstrings:
                continue
            yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


@cache
def python_texts() -> tuple[tuple[str, str], ...]:
    return tuple(_python_texts())


@cache
def file_texts() -> tuple[tuple[str, str], ...]:
    return tuple(_file_texts())


def _python_texts() -> Iterator[tuple[str, str]]:
    files = [ROOT / "dev.py", *(path for top in PYTHON for path in (ROOT / top).rglob("*.py"))]
    for path in sorted(files):
        # a command's docstring is its help; those of routes are in openapi.yaml
        yield from strings_of(path, with_docstrings=path.is_relative_to(ROOT / "app" / "cli"))


def files_of(top: str, patterns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        for path in sorted((ROOT / top).rglob(pattern)):
            # the built page is made of what stands in frontend/, and of the libraries' own words
            if not BUILT & set(path.relative_to(ROOT).parts):
                yield str(path.relative_to(ROOT)), path.read_text("utf-8")


def _file_texts() -> Iterator[tuple[str, str]]:
    for path in sorted(ROOT.glob("*.*")):
        if path.suffix in {".md", ".yaml", ".yml", ".toml"}:
            yield path.name, path.read_text("utf-8")
    for top in ("app", "workers", "examples", "docs"):
        yield from files_of(top, (*TEXTS, "*.json"))
    yield from files_of("frontend", PAGES)
