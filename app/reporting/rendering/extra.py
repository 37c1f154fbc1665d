"""The libraries that render, imported where they are used: a service runs without them."""

from importlib import import_module
from importlib.resources import files
from types import ModuleType
from typing import Final

from app.domain.errors import ExtraMissing

EXTRA: Final = "reports"


def library(name: str) -> ModuleType:
    """A library of the extra `reports`.

    Raises:
        ExtraMissing: it is not installed; names the extra.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ExtraMissing(EXTRA, name) from None


def template(name: str) -> str:
    """The text of a file in app/reporting/templates/."""
    return (files("app.reporting") / "templates" / name).read_text("utf-8")
