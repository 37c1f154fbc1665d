"""How the demo speaks: pictures and tables for people, silence and one document for machines."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

ROWS_SHOWN = 12


class Stage(Protocol):
    """Where the scenario shows what happens."""

    def act(self, title: str, text: str = "") -> None:
        """A new step, and in a sentence what it is about."""

    def say(self, text: str) -> None:
        """One line."""

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table."""

    def training(self, steps: int) -> Any:
        """A context that gives a function to call with each progress row."""


class Quiet:
    """Shows nothing: with --json the facts are the whole output."""

    def act(self, title: str, text: str = "") -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Nothing."""

    @contextmanager
    def training(self, steps: int) -> Iterator[Any]:
        """A function that does nothing."""
        yield lambda row: None


class Terminal:
    """A terminal, in colour where there is one."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)

    def act(self, title: str, text: str = "") -> None:
        """A ruled headline and its sentence."""
        self.console.print()
        self.console.rule(f"[bold]{title}", align="left")
        if text:
            self.console.print(f"[dim]{text}")

    def say(self, text: str) -> None:
        """A plain line."""
        self.console.print(text)

    def panel(self, title: str, lines: Sequence[str]) -> None:
        """A framed text."""
        self.console.print(Panel("\n\n".join(lines), title=title, title_align="left"))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table with its numbers to the right."""
        shown = Table(title=title, title_justify="left", title_style="bold")
        for index, column in enumerate(columns):
            shown.add_column(column, justify="left" if index == 0 else "right")
        for row in rows[:ROWS_SHOWN]:
            shown.add_row(*(str(value) for value in row))
        self.console.print(shown)
        if len(rows) > ROWS_SHOWN:
            self.console.print(f"[dim]… and {len(rows) - ROWS_SHOWN} more")

    @contextmanager
    def training(self, steps: int) -> Iterator[Any]:
        """A progress bar with epsilon so far and the public test accuracy."""
        columns = (
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.completed:>4.0f}/{task.total} steps"),
            TextColumn("ε {task.fields[epsilon]}"),
            TextColumn("test accuracy {task.fields[accuracy]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console) as bar:
            task = bar.add_task("", total=steps, epsilon="0", accuracy="…")

            def shown(row: Mapping[str, Any]) -> None:
                if row.get("epsilon") is not None:
                    bar.update(task, epsilon=f"{float(row['epsilon']):.2f}")
                if row.get("test_accuracy") is not None:
                    bar.update(task, accuracy=f"{float(row['test_accuracy']):.3f}")
                bar.update(task, completed=row.get("step", 0))

            yield shown
