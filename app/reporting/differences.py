"""Where two JSON documents differ first: a pointer, with what was expected and what was found."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SHOWN_MOST: Final = 200


class Missing:
    """What stands for a value that is not there."""

    def __repr__(self) -> str:
        """For people."""
        return "nothing"


MISSING: Final = Missing()


@dataclass(frozen=True, slots=True)
class Difference:
    """One place: a JSON pointer (RFC 6901), what was computed for it, and what stands there."""

    pointer: str
    expected: Any
    found: Any

    def to_json(self) -> dict[str, str]:
        """Both sides as short texts."""
        return {
            "pointer": self.pointer,
            "expected": _shown(self.expected),
            "found": _shown(self.found),
        }

    def in_words(self) -> str:
        """For people."""
        said = self.to_json()
        lines = [
            "WRONG. The first thing that differs:",
            f"  {said['pointer'] or 'the whole document'}",
            f"  expected: {said['expected']}",
            f"  found:    {said['found']}",
        ]
        return "\n".join(lines) + "\n"


class Walk:
    """Compares documents in the order of what was expected, and counts the values it compared."""

    def __init__(self) -> None:
        """Nothing was compared."""
        self.values = 0

    def facts(self, expected: Mapping[str, Any], found: Any, pointer: str) -> Difference | None:
        """The first of some fields that differs; fields that nothing was expected of are let be."""
        if not isinstance(found, Mapping):
            return Difference(pointer, "an object", found)
        for key, value in expected.items():
            at = f"{pointer}/{escaped(key)}"
            difference = self.whole(value, found.get(key, MISSING), at)
            if difference is not None:
                return difference
        return None

    def whole(self, expected: Any, found: Any, pointer: str) -> Difference | None:
        """The first place where two values differ, in type too; None where they are the same."""
        if isinstance(expected, Mapping) and isinstance(found, Mapping):
            difference = self.facts(expected, found, pointer)
            more = next((key for key in found if key not in expected), None)
            if difference is None and more is not None:
                at = f"{pointer}/{escaped(str(more))}"
                return Difference(at, MISSING, found[more])
            return difference
        if isinstance(expected, list | tuple) and isinstance(found, list):
            for index, value in enumerate(expected):
                here = found[index] if index < len(found) else MISSING
                difference = self.whole(value, here, f"{pointer}/{index}")
                if difference is not None:
                    return difference
            if len(found) > len(expected):
                at = f"{pointer}/{len(expected)}"
                return Difference(at, MISSING, found[len(expected)])
            return None
        self.values += 1
        same = type(expected) is type(found) and expected == found
        return None if same else Difference(pointer, expected, found)


def escaped(key: str) -> str:
    """A key as a pointer writes it."""
    return key.replace("~", "~0").replace("/", "~1")


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, str | Missing) else json.dumps(value, sort_keys=True)
    return text if len(text) <= SHOWN_MOST else f"{text[:SHOWN_MOST]}..."
