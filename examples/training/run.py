"""One model on one real set: without privacy, and at each epsilon, by the engine of the workers."""

import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import torch

from app.domain.accounting.calibration import calibrate
from app.domain.accounting.filters import make_policy
from app.domain.columns import Column
from app.domain.datasets import Dataset, Source, UnitOfPrivacy
from app.domain.privacy import Limit
from app.domain.training import TrainSpec, parse_training
from app.domain.training.spec import features_width
from examples.training.data import PASSAGE, write_digits, write_images, write_passages
from kernels.noise.source import NoiseSource
from workers.engines.api import Input, ReservedPart, Work
from workers.engines.train.data import Table, columns_of, read_records
from workers.engines.train.engine import TrainingEngine
from workers.engines.train.networks import accuracy, build, losses, size, start, trained
from workers.engines.train.optimizers import make_optimizer, set_rate
from workers.engines.train.sampling import PoissonSampler

EPSILONS: Final = ("8", "3", "1")
DELTA: Final = "1e-5"
_ALPHABET: Final = "\n !,-.:;?'\"()[]&" + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Example:
    """A set, a model for it, and how it learns with privacy and without.

    plain: what of the spec is other without privacy; clipping and noise are left out there.
    """

    name: str
    title: str
    write: Callable[[Path], tuple[Path, Path]]
    columns: tuple[Column, ...]
    nominal_size: int
    spec: Mapping[str, Any]
    plain: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trained:
    """One line of the table. epsilon: None without privacy. seconds: of the processor."""

    epsilon: str | None
    accuracy: float
    seconds: float
    peak_mb: float
    noise_multiplier: str | None = None
    audit: Mapping[str, Any] | None = None


def _pixels(count: int, high: int) -> tuple[Column, Column]:
    return (
        Column("pixels", "float32", low=Decimal(0), high=Decimal(high), shape=(count,)),
        Column("digit", "int64", domain=tuple(range(10)), domain_source="public"),
    )


def _spec(**fields: Any) -> dict[str, Any]:
    return {"v": 1, "algorithm": "dp_sgd", "chunk_steps": 20, **fields}


def _of_digits(
    model: Mapping[str, Any], *, rate: str, steps: int, plain_learning_rate: float, **set_: Any
) -> Example:
    """An example whose records are pictures of digits; without clipping it needs smaller steps."""
    sgd = {"name": "sgd", "momentum": 0.9}
    spec = _spec(
        model=model,
        features=["pixels"],
        label="digit",
        loss="cross_entropy",
        sampling={"kind": "poisson", "rate": rate},
        steps=steps,
        clip={"mode": "flat", "norm_l2": "0.5"},
        optimizer={**sgd, "learning_rate": 1.0},
    )
    plain = {"optimizer": {**sgd, "learning_rate": plain_learning_rate}}
    return Example(**set_, spec=spec, plain=plain)


EXAMPLES: Final[Mapping[str, Example]] = {
    example.name: example
    for example in (
        _of_digits(
            {"name": "mlp", "hidden": [128]},
            rate="0.5",
            steps=100,
            plain_learning_rate=0.2,
            name="digits",
            title="digits of 8 x 8, 1,437 records, mlp",
            write=write_digits,
            columns=_pixels(64, 16),
            nominal_size=1_437,
        ),
        _of_digits(
            {"name": "cnn", "image": [1, 28, 28], "channels": [8, 16]},
            rate="0.125",
            steps=120,
            plain_learning_rate=0.1,
            name="images",
            title="MNIST of 28 x 28, 4,000 records, cnn",
            write=write_images,
            columns=_pixels(784, 255),
            nominal_size=4_000,
        ),
        Example(
            "text",
            "passages of Shakespeare's plays, 32,000 records of 32 characters, transformer_lm",
            write_passages,
            (Column("passage", "string"),),
            32_000,
            _spec(
                model={
                    "name": "transformer_lm",
                    "alphabet": _ALPHABET,
                    "context": PASSAGE - 1,
                    "width": 48,
                    "heads": 4,
                    "layers": 2,
                },
                features=["passage"],
                loss="next_token",
                sampling={"kind": "poisson", "rate": "0.0125"},
                steps=200,
                clip={"mode": "flat", "norm_l2": "0.5"},
                optimizer={
                    "name": "adam",
                    "learning_rate": 0.003,
                    "noise_bias_correction": False,
                    "schedule": {"name": "cosine", "warm_up_steps": 20},
                },
            ),
            {},
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """An example with its files."""

    example: Example
    private: Dataset
    public: Dataset
    files: tuple[Path, Path]

    def spec(self, **changes: Any) -> TrainSpec:
        """Its spec, with a public test set."""
        document = {**self.example.spec, "evaluation": {"dataset_id": "test"}, **changes}
        document.setdefault("noise", {"noise_multiplier": "1"})
        return parse_training(document, self.private, {"test": self.public})


def prepare(example: Example, folder: Path) -> Prepared:
    """Write the files of an example."""
    files = example.write(folder)
    source = Source("examples", files[0].name, "parquet")
    unit = UnitOfPrivacy("record")
    private = Dataset(
        *("train", example.name, "private", example.columns, source, unit),
        *("add_remove", example.nominal_size),
    )
    public = Dataset("test", f"{example.name}-test", "public", example.columns, source)
    return Prepared(example, private, public, files)


class _Paid:
    """A ledger that lets every unit start: the example has no budget but its own epsilon."""

    def start(self, part: int, started_units: int) -> None:
        """Nothing to remember."""

    def progress(self, fields: Mapping[str, Any]) -> None:
        """Nothing to tell."""


def with_privacy(prepared: Prepared, epsilon: str, **changes: Any) -> Trained:
    """A run of the workers' engine, its noise solved for (epsilon, 1e-5) as a budget would."""
    spec = prepared.spec(**changes)
    policy = make_policy("rdp-mix/1", Limit(Decimal(epsilon), Decimal(DELTA)), Decimal("0.9"))
    noise = calibrate(spec.parts, "add_remove", policy.admits)
    spec = spec.with_noise(noise)
    with tempfile.TemporaryDirectory() as scratch:
        work = Work(
            job_id=UUID(int=1),
            kind="train",
            spec=spec.to_json(),
            inputs=(Input(prepared.private, 1, prepared.files[0]),),
            parts=tuple(ReservedPart(part.mechanism, part.max_units) for part in spec.parts()),
            salt=bytes(16),
            scratch=Path(scratch),
            public={"test": Input(prepared.public, 1, prepared.files[1])},
        )
        began = time.process_time()
        result = TrainingEngine().prepare(work).run(_Paid()).result
        seconds = time.process_time() - began
    return Trained(
        epsilon, result["test_accuracy"], seconds, _peak_mb(), noise, result.get("audit")
    )


def without_privacy(prepared: Prepared, **changes: Any) -> Trained:
    """The same model on as many steps of the same draws, nothing clipped and no noise."""
    spec = prepared.spec(**{**prepared.example.plain, **changes})
    features, label = columns_of(spec, prepared.private)
    model = build(spec.model, 0 if label is None else features_width(features))
    normals = torch.zeros(size(model))
    NoiseSource().add_gaussian_([normals], 1.0, stream=0, step=0)
    start(model, normals)
    with tempfile.TemporaryDirectory() as scratch:
        train, test = (_read(spec, prepared, place, Path(scratch)) for place in (0, 1))
    optimizer = make_optimizer(spec.optimizer, trained(model))
    sampler = PoissonSampler(spec.rate)
    began = time.process_time()
    for step in range(1, spec.steps + 1):
        optimizer.zero_grad()
        drawn = sampler.draw(len(train))
        for rows in torch.split(drawn, spec.physical_batch_max):
            (losses(model, *train.rows(rows)).sum() / spec.normalise_by).backward()  # type: ignore[no-untyped-call]
        set_rate(optimizer, spec.optimizer.rate_at(step, spec.steps))
        optimizer.step()
    seconds = time.process_time() - began
    return Trained(None, accuracy(model, *test.rows(slice(None))), seconds, _peak_mb())


def _read(spec: TrainSpec, prepared: Prepared, place: int, scratch: Path) -> Table:
    dataset = (prepared.private, prepared.public)[place]
    source = Input(dataset, 1, prepared.files[place])
    return read_records(spec, prepared.private, source, spill=scratch / "spill")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
