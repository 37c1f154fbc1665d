"""Which combinations run in every suite, where running each on both databases takes minutes.

Every combination runs under `dev.py test --long`; in the short suite each database still meets
each test, and each case still runs on one of the two.
"""

from collections.abc import Collection, Sequence

import pytest

DATABASES = ("sqlite", "postgresql")


def on_one_database(
    always: str, marks: Collection[pytest.MarkDecorator] = (pytest.mark.long,)
) -> pytest.MarkDecorator:
    """The test on one database; on the other only where `marks` are asked for."""
    return pytest.mark.parametrize(
        "database_url",
        [name if name == always else pytest.param(name, marks=tuple(marks)) for name in DATABASES],
        indirect=True,
    )


def on_each_in_turn(
    argument: str,
    cases: Sequence[str | int],
    marks: Collection[pytest.MarkDecorator] = (pytest.mark.long,),
) -> pytest.MarkDecorator:
    """The cases on SQLite and PostgreSQL by turns; the other half where `marks` are asked for."""
    return pytest.mark.parametrize(
        (argument, "database_url"),
        [
            pytest.param(case, name, marks=() if name == DATABASES[index % 2] else tuple(marks))
            for index, case in enumerate(cases)
            for name in DATABASES
        ],
        indirect=["database_url"],
    )
