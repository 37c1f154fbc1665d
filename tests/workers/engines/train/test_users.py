"""Attacks on training by users: many rows, rows that are no numbers, other users, another order."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
import torch
from torch import Tensor

from app.domain.columns import Column
from app.domain.datasets import Dataset, Source, UnitOfPrivacy
from app.domain.partitions import parse_blocks
from app.domain.training import TrainSpec, parse_training
from app.domain.training.clipping import ClipMode
from app.domain.training.models import Cnn, Logistic, Mlp, ModelSpec, TransformerLm
from app.domain.training.users import UserSpec
from tests.training_document import training_document
from tests.workers.engines.train.runs import Silence, normals, spec
from tests.workers.engines.train.small_work import Ledger, work_of
from workers.engines.api import ChosenBlocks, Input, RowsFile
from workers.engines.train.data import read_examples
from workers.engines.train.engine import TrainingEngine
from workers.engines.train.examination import examined
from workers.engines.train.networks import build
from workers.engines.train.steps import NoisyGradients, clip_of
from workers.engines.train.users import NO_RECORD, UserTable

INPUTS, CLASSES, MOST = 12, 4, 5
BOUND = 0.7
LINEAR: list[ModelSpec] = [Logistic(CLASSES), Mlp((9, 5), CLASSES)]
OTHERS: list[ModelSpec] = [
    Cnn((3, 2, 2), (6,), CLASSES),
    TransformerLm("abcdefg", 9, 6, 8, 2, 2),
]


def _asked(model: ModelSpec, mode: ClipMode = "flat") -> TrainSpec:
    user = UserSpec(MOST, "all" if isinstance(model, Logistic | Mlp) else "one")
    return spec(model=model, clip_norm_l2=Decimal(str(BOUND)), clip_mode=mode, user=user)


def _gradients(asked: TrainSpec) -> NoisyGradients:
    private = examined(asked.model, INPUTS, clip_of(asked), user=asked.user)
    with torch.no_grad():
        for place, parameter in enumerate(private.model.parameters()):
            parameter.copy_(normals(parameter.numel(), seed=place).view_as(parameter))
    return NoisyGradients.of(asked, private, Silence())


def _users(asked: TrainSpec, rows: Sequence[int], *, loud: int | None = None) -> UserTable:
    """Users with so many rows each; the rows of one of them may be far out of bounds."""
    draw, total = torch.Generator().manual_seed(3), sum(rows)
    owners = torch.repeat_interleave(
        torch.arange(len(rows)), torch.tensor(rows, dtype=torch.int64)
    ).numpy()
    if isinstance(asked.model, TransformerLm):
        tokens = torch.randint(0, 9, (total, 7), generator=draw)
        inputs, labels = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    else:
        inputs = torch.rand(total, INPUTS, generator=draw)
        labels = torch.arange(total) % CLASSES
        if loud is not None:
            inputs[torch.from_numpy(owners == loud)] *= 1e6
    assert asked.user is not None
    table = UserTable.of(inputs, labels, owners, asked.user)
    # the same choice of a record whoever else is drawn: coins of one's own
    return UserTable(table.inputs, table.labels, table.starts, asked.user, bytes)


def _sum(found: NoisyGradients, table: UserTable, users: list[int]) -> Tensor:
    found.clipped_sum(table, torch.tensor(users, dtype=torch.int64))
    return torch.cat([total.double().flatten() for layer in found.sums() for total in layer])


@pytest.mark.parametrize("mode", ["flat", "per_layer", "stream"])
@pytest.mark.parametrize("model", [*LINEAR, *OTHERS], ids=lambda model: model.name)
def test_deleting_a_user_moves_the_sum_by_at_most_the_bound_whatever_his_rows(
    model: ModelSpec, mode: ClipMode
) -> None:
    asked = _asked(model, mode)
    found, table = _gradients(asked), _users(asked, [1, MOST, 2, MOST, 3], loud=1)
    everybody = _sum(found, table, [0, 1, 2, 3, 4])
    for left in range(5):
        rest = _sum(found, table, [user for user in range(5) if user != left])
        assert float((everybody - rest).norm()) <= BOUND * (1 + 1e-5)
    assert float((everybody - _sum(found, table, [0, 2, 3, 4])).norm()) > 0


@pytest.mark.parametrize("model", LINEAR, ids=lambda model: model.name)
def test_a_user_s_gradient_is_the_clipped_mean_of_his_own_records(model: ModelSpec) -> None:
    asked = _asked(model)
    found, table = _gradients(asked), _users(asked, [3, 1, MOST])
    for user in range(3):
        copied = build(model, INPUTS)  # a plain twin, whose gradients nothing clips
        copied.load_state_dict(found.private.model.state_dict())
        own = slice(int(table.starts[user]), int(table.starts[user + 1]))
        loss = torch.nn.functional.cross_entropy(copied(table.inputs[own]), table.labels[own])
        grads = torch.autograd.grad(loss, list(copied.parameters()))
        whole = torch.cat([grad.double().flatten() for grad in grads])
        expected = whole * min(1.0, BOUND / float(whole.norm()))
        assert torch.allclose(_sum(found, table, [user]), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", [*LINEAR, OTHERS[0]], ids=lambda model: model.name)
def test_a_row_that_is_no_number_takes_no_more_than_its_own_user_out(model: ModelSpec) -> None:
    asked = _asked(model)
    found, table = _gradients(asked), _users(asked, [2, 3, 1])
    table.inputs[2:5] = float("nan")
    with_it, without = _sum(found, table, [0, 1, 2]), _sum(found, table, [0, 2])
    assert torch.allclose(with_it, without, rtol=1e-5, atol=1e-6)


def test_an_empty_draw_of_users_takes_its_step() -> None:
    asked = _asked(LINEAR[0])
    found = _gradients(asked)
    for table in (_users(asked, [2, 1]), _users(asked, [])):
        assert float(_sum(found, table, []).norm()) == 0.0
    assert len(_users(asked, [])) == 0


def test_a_choice_of_one_record_is_made_afresh_and_stays_with_its_user() -> None:
    asked = _asked(OTHERS[0])
    table = _users(asked, [1, MOST, 3])
    fresh = UserTable(table.inputs, table.labels, table.starts, UserSpec(MOST, "one"))
    seen: list[set[int]] = [set(), set(), set()]
    for _ in range(200):
        inputs, _ = fresh.rows(torch.arange(3))
        for user in range(3):
            place = (fresh.inputs == inputs[user]).all(dim=1).nonzero().flatten()
            seen[user].add(int(place))
    # 200 draws miss one of five rows with a probability below 1e-18
    assert seen == [{0}, {1, 2, 3, 4, 5}, {6, 7, 8}]


# --- what is read -------------------------------------------------------------------------------

X = Column("x", "float64", low=Decimal(0), high=Decimal(1))
Y = Column("y", "int64", domain=(0, 1), domain_source="public")
WHO = Column("who", "string")
TEXT = Column("text", "string")
DATASET = Dataset(
    *("d", "rows", "private", (X, Y, WHO, TEXT), Source("files", "rows.parquet", "parquet")),
    *(UnitOfPrivacy("user", "who", max_rows_per_user=3), "add_remove", 20),
)
DOCUMENT = training_document(["x"], "y")
LANGUAGE = {
    **{key: value for key, value in DOCUMENT.items() if key != "label"},
    "model": {
        "name": "transformer_lm",
        "alphabet": "ab",
        "context": 4,
        "width": 4,
        "heads": 1,
        "layers": 1,
    },
    "features": ["text"],
    "loss": "next_token",
}
Row = tuple[float | None, int, str | None, str]


def _write(folder: Path, rows: Sequence[Row], name: str = "rows.parquet") -> Path:
    file = folder / name
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (x DOUBLE, y BIGINT, who VARCHAR, text VARCHAR)")
        if rows:
            connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", list(rows))
        connection.execute(f"COPY t TO '{file}' (FORMAT parquet)")
    return file


def _read(file: Path, document: dict[str, Any] = DOCUMENT, salt: bytes = bytes(16)) -> UserTable:
    asked = parse_training(document, DATASET, {})
    source = Input(DATASET, 1, file)
    table = read_examples(asked, DATASET, source, salt=salt, spill=file.parent / "spill")
    assert isinstance(table, UserTable)
    return table


def _kept(table: UserTable) -> list[list[Any]]:
    """The kept records of each user."""
    pairs = pairwise(table.starts.tolist())
    return [table.inputs[first:last].tolist() for first, last in pairs]


MANY: list[Row] = [(n / 1000, n % 2, "loud", "ab" * (n % 3)) for n in range(1000)]
FEW: list[Row] = [(0.5, 0, "a", "a"), (0.25, 1, "a", "b"), (0.75, 1, "b", "ab")]


@pytest.mark.parametrize("document", [DOCUMENT, LANGUAGE], ids=["features", "texts"])
def test_a_user_never_takes_more_than_the_cap(tmp_path: Path, document: dict[str, Any]) -> None:
    table = _read(_write(tmp_path, [*MANY, *FEW]), document)
    assert sorted(len(rows) for rows in _kept(table)) == [1, 2, 3]


@pytest.mark.parametrize("document", [DOCUMENT, LANGUAGE], ids=["features", "texts"])
def test_the_order_of_the_rows_in_a_file_moves_nothing(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    rows = [*MANY, *FEW]
    first = _read(_write(tmp_path, rows), document)
    second = _read(_write(tmp_path, rows[::-1], "again.parquet"), document)
    for one, other in ((first.inputs, second.inputs), (first.labels, second.labels)):
        assert torch.equal(one, other)
    assert torch.equal(first.starts, second.starts)


@pytest.mark.parametrize("document", [DOCUMENT, LANGUAGE], ids=["features", "texts"])
def test_what_is_kept_of_a_user_depends_on_no_other_user(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    alone = _kept(_read(_write(tmp_path, MANY), document))[0]
    others: list[Row] = [(n / 99, n % 2, f"user {n % 7}", "ba") for n in range(99)]
    with_others = _kept(_read(_write(tmp_path, [*others, *MANY, *FEW], "more.parquet"), document))
    assert alone in with_others


def test_another_salt_chooses_other_rows_of_a_user(tmp_path: Path) -> None:
    file = _write(tmp_path, MANY)
    chosen = {str(_kept(_read(file, salt=bytes([n]) * 16))) for n in range(8)}
    assert len(chosen) == 8


def test_rows_of_nobody_and_of_no_known_class_are_left_out(tmp_path: Path) -> None:
    rows: list[Row] = [(0.5, 0, None, "a"), (0.5, 7, "a", "a"), (None, 1, "b", "a")]
    assert _kept(_read(_write(tmp_path, rows))) == [[[0.0]]]
    assert len(_read(_write(tmp_path, [], "none.parquet"))) == 0


def test_a_user_with_fewer_records_is_filled_up_with_none(tmp_path: Path) -> None:
    inputs, labels = _read(_write(tmp_path, FEW)).rows(torch.arange(2))
    assert inputs.shape == (2, 3, 1)
    assert sorted((labels == NO_RECORD).sum(dim=1).tolist()) == [1, 2]


def test_what_a_user_has_in_a_period_is_a_unit_of_its_own(tmp_path: Path) -> None:
    day = Column("day", "date")
    blocks = {
        "kind": "time",
        "column": "day",
        "period": "month",
        "time_zone": "UTC",
        "grace_days": 1,
        "first_day": "2026-01-01",
    }
    columns = (X, Y, WHO, day)
    periods = Dataset(
        *("d", "rows", "private", columns, Source("files", "p.parquet", "parquet")),
        *(UnitOfPrivacy("user_period", "who", max_rows_per_user=2), "add_remove", 20),
        blocks=parse_blocks(blocks, unit_kind="user_period", columns=columns),
    )
    file = tmp_path / "p.parquet"
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (x DOUBLE, y BIGINT, who VARCHAR, day DATE)")
        for month, who in ((1, "a"), (1, "a"), (1, "a"), (2, "a"), (2, "b")):
            connection.execute(
                "INSERT INTO t VALUES (0.5, 1, ?, make_date(2026, ?, 3))", [who, month]
            )
        connection.execute(f"COPY t TO '{file}' (FORMAT parquet)")
    asked = parse_training(DOCUMENT, periods, {})
    chosen = ChosenBlocks(((0, 1),), (RowsFile(file, "parquet"),))
    source = Input(periods, 1, file, chosen)
    table = read_examples(asked, periods, source, salt=bytes(16), spill=tmp_path / "spill")
    assert isinstance(table, UserTable)
    assert sorted(len(rows) for rows in _kept(table)) == [1, 1, 2]


@pytest.mark.parametrize("document", [DOCUMENT, LANGUAGE], ids=["features", "texts"])
def test_a_run_by_users_says_on_its_card_whom_it_protects(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    file = _write(tmp_path, [*MANY, *FEW])
    work = work_of({**document, "audit": None}, DATASET, file, tmp_path / "scratch")
    outcome = TrainingEngine().prepare(work).run(Ledger())
    assert outcome.result["steps_run"] == 3
    card = (work.scratch / "card.json").read_text()
    assert '"unit_of_privacy": "user"' in card
    assert '"rows_most": 3' in card
