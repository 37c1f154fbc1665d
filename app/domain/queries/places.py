"""Where the parts of a query stand in the SQL text that it was read from."""

from dataclasses import replace
from typing import TYPE_CHECKING

from app.domain.errors import (
    BoundsRequired,
    DomainError,
    InvalidParameter,
    RefusedByName,
    SqlNotAccepted,
)

if TYPE_CHECKING:
    from sqlglot import exp


class Places:
    """Where the parts of a spec stand in the text that it was read from."""

    def __init__(self, pointer: str, text: str) -> None:
        self._pointer = pointer
        self._text = text
        self._starts: dict[str, int] = {}

    def keep(self, part: str, node: "exp.Expr") -> None:
        """Remember that a part of the spec, such as `/measures/0`, was read from a node."""
        self._starts[part] = self.start_of(node)

    def start_of(self, node: "exp.Expr") -> int:
        """The offset of a node: of a call its name, else its first name, literal or keyword."""
        from sqlglot import exp

        own: int | None = node.meta.get("start")
        if own is not None:
            return own
        found = [leaf.meta["start"] for leaf in node.walk() if "start" in leaf.meta]
        if not found:
            return self.start_of(node.parent) if node.parent is not None else 0
        start: int = min(found)
        words: dict[type[exp.Expr], str] = {
            exp.Cast: "CAST",
            exp.Case: "CASE",
            exp.Exists: "EXISTS",
            exp.Max: "MAX",
            exp.Min: "MIN",
        }
        word = words.get(type(node))
        before = -1 if word is None else self._text.upper().rfind(word, 0, start)
        return start if before < 0 else before

    def refusal(self, start: int, reason: str) -> SqlNotAccepted:
        """A refusal at an offset, with its line and column, both from 1."""
        start = min(start, max(len(self._text) - 1, 0))
        line = self._text.count("\n", 0, start) + 1
        column = start - (self._text.rfind("\n", 0, start) + 1) + 1
        return SqlNotAccepted(self._pointer, line, column, reason)

    def moved(self, refusal: DomainError, pointer: str) -> DomainError:
        """A refusal of the spec, said of the place in the text that the faulty part came from."""
        at = getattr(refusal, "pointer", "").removeprefix(pointer)
        part = next((part for part in _prefixes(at) if part in self._starts), None)
        if part is None:
            return refusal
        said = self.refusal(self._starts[part], "")
        where = f"line {said.line}, column {said.column}"
        if isinstance(refusal, InvalidParameter | BoundsRequired):
            reason = f"{where}: {refusal.reason}"
            return replace(refusal, pointer=self._pointer, reason=reason)
        if isinstance(refusal, RefusedByName):
            return replace(refusal, pointer=self._pointer, form=f"{where}: {refusal.form}")
        return refusal


def _prefixes(at: str) -> list[str]:
    parts = at.split("/")
    return ["/".join(parts[:length]) for length in range(len(parts), 1, -1)]
