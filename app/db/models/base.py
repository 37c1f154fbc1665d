"""The declarative base, and the column types whose stored form we choose."""

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, DateTime, Integer, LargeBinary, MetaData, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from app.domain.accounting.block_sums import BlockSums
from app.domain.accounting.plan_units import PlanUnits
from app.domain.privacy import Loss

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite keeps no zone, so one is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a stored time needs a zone, got {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonText(TypeDecorator[Any]):
    """JSON as text, written the same way on every database: sorted keys, no spaces, no NaN."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class LossText(TypeDecorator[Loss]):
    """An exact loss as JSON of decimal strings: no database integer is wide enough (R2)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Loss | None, dialect: Dialect) -> str | None:
        return None if value is None else _loss_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Loss | None:
        return None if value is None else Loss.from_json(json.loads(value))


class PlanUnitsText(TypeDecorator[PlanUnits]):
    """Units of a plan's slots as JSON; a value that is never changed in place."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: PlanUnits | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return json.dumps(value.to_json(), sort_keys=True, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> PlanUnits | None:
        return None if value is None else PlanUnits.from_json(json.loads(value))


class BlockSumsBytes(TypeDecorator[BlockSums]):
    """What the blocks of a budget hold, as bytes; a value that is never changed in place (R8)."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: BlockSums | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.to_bytes()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> BlockSums | None:
        return None if value is None else BlockSums.from_bytes(value)


@lru_cache(maxsize=4096)
def _loss_text(loss: Loss) -> str:
    """Written once a loss: jobs of one shape reserve the same."""
    return json.dumps(loss.to_json(), separators=(",", ":"))


# SQLite grows ids by itself only in a column of type INTEGER, which is 64 bits wide there
GrowingInteger = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """Every table of the service."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
