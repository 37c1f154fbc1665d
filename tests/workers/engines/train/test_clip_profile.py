"""Attacks on the clip profile: its output probabilities on neighbours, its norms, its place."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from app.domain.decimals import float_down
from app.domain.training.clipping import ClipProfile, clip_grid
from app.domain.training.models import ModelSpec, TransformerLm
from tests.workers.engines.train.runs import MODELS, private, spec, table, without
from tests.workers.engines.train.small_work import Ledger, small_work
from workers.engines.api import EngineRefused, JobCancelled
from workers.engines.train import engine
from workers.engines.train.clip_profile import at_most, choose, gradient_norms
from workers.engines.train.data import Table
from workers.engines.train.engine import TrainingEngine
from workers.engines.train.networks import losses, made_up

models = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
CLIP = {"mode": "flat", "profile": {"quantile": "0.5", "epsilon": "0.1"}}
RUNS = 2000
LEVEL = 1e-4


def norms_of(model: ModelSpec, whole: Table) -> Tensor:
    asked = spec(model=model)
    return gradient_norms(private(asked), made_up(model, 12)[0], losses, whole)


@models
def test_a_norm_is_that_of_the_record_s_whole_gradient_and_never_below_it(model: ModelSpec) -> None:
    """Against a float64 loop."""
    found, whole = norms_of(model, table(9, model)), table(9, model)
    module = private(spec(model=model)).unwrap().double()
    for record in range(9):
        inputs, labels = whole.rows(slice(record, record + 1))
        module.zero_grad()
        inputs = inputs if isinstance(model, TransformerLm) else inputs.double()
        losses(module, inputs, labels).sum().backward()  # type: ignore[no-untyped-call]
        squares = [float(p.grad.square().sum()) for p in module.parameters() if p.grad is not None]
        exact = math.sqrt(math.fsum(squares))
        assert exact * (1 - 1e-5) <= float(found[record]) <= exact * (1 + 1e-2)


@models
def test_no_record_changes_the_norm_of_another_by_a_single_bit(model: ModelSpec) -> None:
    whole = table(7, model)
    everybody = norms_of(model, whole)
    for record in range(7):
        keep = torch.arange(7) != record
        assert torch.equal(norms_of(model, without(whole, record)), everybody[keep])


def test_taking_norms_leaves_the_model_and_its_gradients_alone() -> None:
    asked = spec(model=MODELS[1], clip_mode="per_layer")
    found = private(asked)
    before = [p.detach().clone() for p in found.model.parameters()]
    gradient_norms(found, made_up(MODELS[1], 12)[0], losses, table(5, MODELS[1]))
    assert all(torch.equal(a, b) for a, b in zip(before, found.model.parameters(), strict=True))
    assert all(p.grad is None for p in found.model.parameters())
    found.sum_gradients(losses, *table(5, MODELS[1]).rows(slice(None)))
    assert all(p.grad is not None for p in found.model.parameters())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_counts_above_every_edge(bad: float) -> None:
    assert at_most(torch.tensor([bad, 1e300], dtype=torch.float64)) == [0] * 241
    assert at_most(torch.tensor([bad, 0.0], dtype=torch.float64)) == [1] * 241
    edge = float_down(clip_grid()[7])
    assert at_most(torch.tensor([edge], dtype=torch.float64)) == [0] * 7 + [1] * 234
    assert at_most(torch.zeros(0, dtype=torch.float64)) == [0] * 241


def probabilities(profile: ClipProfile, norms: Tensor) -> list[float]:
    """Of the exponential mechanism with Gumbel noise of the profile's scale, by its weights."""
    scores = profile.scores(at_most(norms), norms.shape[0])
    weights = [math.exp((score - max(scores)) / float(profile.scale)) for score in scores]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


@pytest.mark.parametrize("quantile", ["0.05", "0.5", "0.9"])
@pytest.mark.parametrize("epsilon", ["0.1", "3"])
def test_neighbours_choose_every_edge_with_chances_within_e_to_the_epsilon(
    quantile: str, epsilon: str
) -> None:
    profile = ClipProfile(Decimal(quantile), Decimal(epsilon))
    draw = torch.Generator().manual_seed(3)
    for size in (0, 1, 2, 40):
        norms = 10 ** (torch.rand(size, generator=draw, dtype=torch.float64) * 6 - 3)
        for new in (1e-6, 0.0302, 1.0, 1e6, math.nan):
            more = torch.cat([norms, torch.tensor([new], dtype=torch.float64)])
            pairs = zip(probabilities(profile, norms), probabilities(profile, more), strict=True)
            assert max(abs(math.log(p / q)) for p, q in pairs) <= float(epsilon) * (1 + 1e-9)


def plain_quantile(profile: ClipProfile, norms: Tensor) -> Decimal:
    """The fault of R27: the quantile itself, as an edge."""
    return clip_grid()[
        min(240, sum(rank < float(profile.quantile) * norms.shape[0] for rank in at_most(norms)))
    ]


Choosing = Callable[[ClipProfile, Tensor], Decimal]


def refuted_epsilon(chooses: Choosing, profile: ClipProfile) -> float:
    """What the outputs on two neighbouring tables tell apart, at level 1e-4."""
    norms = torch.tensor([0.01] * 10 + [100.0] * 10, dtype=torch.float64)
    runs = [
        [float(chooses(profile, norms)) for _ in range(RUNS)],
        [float(chooses(profile, norms[:-1])) for _ in range(RUNS)],
        [float(chooses(profile, norms[1:])) for _ in range(RUNS)],
    ]
    found = 0.0
    cuts = [0.01, 0.02, 0.1, 1.0, 10.0, 99.0, 101.0]
    each = LEVEL / (8 * len(cuts))
    for one, other in ((0, 1), (1, 0), (0, 2), (2, 0)):
        for cut in cuts:
            for sign in (1, -1):
                hits = [sum(sign * x > sign * cut for x in runs[k]) for k in (one, other)]
                low = 0.0 if not hits[0] else stats.beta.ppf(each, hits[0], RUNS - hits[0] + 1)
                high = stats.beta.ppf(1 - each, hits[1] + 1, RUNS - hits[1])
                if low > 0 and hits[1] < RUNS:
                    found = max(found, math.log(low / high))
    return found


@pytest.mark.statistical
def test_no_output_tells_neighbours_apart_by_more_than_the_charge_and_a_plain_quantile_does() -> (
    None
):
    profile = ClipProfile(Decimal("0.5"), Decimal(1))
    assert refuted_epsilon(choose, profile) <= 1
    assert refuted_epsilon(plain_quantile, profile) > 1


@pytest.mark.statistical
def test_the_choice_is_within_a_point_of_the_quantile_of_3500_records_at_epsilon_a_tenth() -> None:
    profile = ClipProfile(Decimal("0.5"), Decimal("0.1"))
    # norms a tenth of an edge apart: a rank shows in the choice
    norms = 10 ** torch.linspace(-2, 2, 3500, dtype=torch.float64)
    edges = [float_down(edge) for edge in clip_grid()]
    off = []
    for _ in range(200):
        ranks = at_most(norms)
        off.append(abs(ranks[edges.index(float_down(choose(profile, norms)))] / 3500 - 0.5))
    # the grid itself is 0.6 points wide here
    assert sorted(off)[190] < 0.012 + 0.02


def test_a_profile_is_started_read_and_chosen_before_the_first_step(tmp_path: Path) -> None:
    work, ledger = small_work(tmp_path, clip=CLIP), Ledger()
    outcome = TrainingEngine().prepare(work).run(ledger)
    assert ledger.started == [(0, 1), (1, 3), (1, 6)]
    chosen = outcome.result["clip_norm_l2"]
    assert Decimal(chosen) in clip_grid()
    assert outcome.result["noise_multiplier"] == "2"
    card = json.loads((work.scratch / "card.json").read_text())
    assert card["privacy"]["clip"] == CLIP | {"norm_l2": chosen}
    assert card["privacy"]["sensitivity_l2"] == chosen
    assert card["implementation"]["kernels"]["sensitivity"] == float_down(Decimal(chosen))
    assert [part["max_units"] for part in card["privacy"]["parts"]] == [1, 6]
    assert outcome.result["audit"]["verdict"] == "consistent"


def test_no_norm_is_taken_where_the_profile_did_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, ledger = small_work(tmp_path, clip=CLIP), Ledger(cancel_at=(0, 1))

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("rows were read")

    monkeypatch.setattr(engine, "read_records", never)
    with pytest.raises(JobCancelled):
        TrainingEngine().prepare(work).run(ledger)
    assert ledger.started == []


def test_a_stop_after_the_profile_releases_what_it_chose_and_the_first_weights(
    tmp_path: Path,
) -> None:
    work, ledger = small_work(tmp_path, clip=CLIP), Ledger(cancel_at=(1, 3))
    outcome = TrainingEngine().prepare(work).run(ledger)
    assert (outcome.result["cancelled"], outcome.result["steps_run"]) == (True, 0)
    assert Decimal(outcome.result["clip_norm_l2"]) in clip_grid()


def test_a_profile_that_an_earlier_claim_started_is_not_drawn_again(tmp_path: Path) -> None:
    """Its one unit is spent, and what it chose is lost (R14)."""
    work = small_work(tmp_path, clip=CLIP)
    look, steps = work.parts
    for started in (0, 3):
        lost = (replace(look, started_units=1), replace(steps, started_units=started))
        with pytest.raises(EngineRefused, match="choice is lost"):
            TrainingEngine().prepare(replace(work, parts=lost))


def test_a_reservation_without_the_profile_is_refused(tmp_path: Path) -> None:
    work = small_work(tmp_path, clip=CLIP)
    for parts in (work.parts[1:], work.parts[:1], work.parts[::-1]):
        with pytest.raises(EngineRefused, match="does not cover"):
            TrainingEngine().prepare(replace(work, parts=parts))
