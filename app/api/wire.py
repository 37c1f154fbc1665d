"""Types that every schema shares: strict in what is taken, open in what is given (wire forms)."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

# a decimal string as app.domain.decimals reads it; the domain checks the range
DECIMAL_PATTERN = r"^[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?$"
SIGNED_DECIMAL_PATTERN = r"^-?[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?$"
NO_CONTROL = r"^[^\x00-\x1f\x7f]+$"
NO_NUL = r"^[^\x00]+$"
TIME_START = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T", re.ASCII)
COUNT_MOST = 2**53 - 1


class WireRequest(BaseModel):
    """What is taken: unknown keys and values of another type are refused."""

    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid")


class WireAnswer(BaseModel):
    """What is given: shapes may grow fields, and their meaning does not change."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")


def _text_only(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("text is expected")  # noqa: TRY004 - pydantic reads ValueError
    return value


def _time_text(value: object) -> object:
    # lax reading would also take a number of seconds, as text or not
    if not isinstance(value, str) or TIME_START.match(value) is None:
        raise ValueError("a time such as 2027-06-30T00:00:00Z is expected")
    return value


def _utc(value: datetime) -> datetime:
    if not 2000 <= value.year <= 2999:
        raise ValueError("a year from 2000 to 2999 is expected")
    return value.astimezone(UTC)


Decimals = Annotated[str, StringConstraints(pattern=DECIMAL_PATTERN, max_length=40)]
SignedDecimals = Annotated[str, StringConstraints(pattern=SIGNED_DECIMAL_PATTERN, max_length=40)]
Name = Annotated[str, StringConstraints(pattern=NO_CONTROL, min_length=1, max_length=200)]
Words = Annotated[str, StringConstraints(pattern=NO_NUL, min_length=1, max_length=2000)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=COUNT_MOST)]
# strict Python input would refuse text for these, and JSON has nothing else to send
Id = Annotated[UUID, Field(strict=False), BeforeValidator(_text_only)]
Time = Annotated[
    AwareDatetime, Field(strict=False), BeforeValidator(_time_text), AfterValidator(_utc)
]
# read and checked by the domain, which knows every form and points at what is wrong
DomainDocument = dict[str, Any]

TimeText = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
IdText = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]


class AmountAnswer(WireAnswer):
    """An epsilon and a delta, as decimal strings, rounded against us."""

    epsilon: str
    delta: str


class LimitRequest(WireRequest):
    """The most that a budget may lose."""

    epsilon: Decimals
    delta: Decimals
