"""Training jobs whole: asked for, quoted, admitted, run and settled, on both databases."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import torch
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.db.models import Entry, Job
from app.db.session import snapshot
from app.domain.accounting.prices import price
from app.domain.errors import BudgetExceeded, InvalidParameter
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Loss
from app.domain.training.clipping import clip_grid
from app.services.admission import QuoteRequest
from app.services.placement import JobRequest
from app.settings import Settings
from tests.training_document import training_document
from tests.world import World, keyed, new_world
from workers.context import Context
from workers.engines.train import engine
from workers.engines.train.optimizers import make_optimizer
from workers.running import run_job

LOOK = {"mode": "flat", "profile": {"quantile": "0.5", "epsilon": "0.2"}}
FOLLOWED = {
    "mode": "flat",
    "norm_l2": "1",
    "adaptive": {"quantile": "0.5", "learning_rate": 0.2, "count_noise": "50"},
}


@pytest.fixture
def world(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    columns = (
        {"name": "x", "type": "float64", "bounds": {"low": "0", "high": "1"}},
        {"name": "y", "type": "int64", "domain": [0, 1], "domain_source": "public"},
    )
    rows = "x,y\n" + "".join(f"0.{n % 10},{n % 2}\n" for n in range(200))
    with new_world(make_session, tmp_path, columns=columns, rows=rows) as made:
        yield made


def asked(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "sampling": {"kind": "poisson", "rate": "0.05"},
        "steps": 20,
        "chunk_steps": 10,
        "audit": {"canaries": 1000, "delta": "1e-5"},
    }
    return training_document(["x"], "y", **{**fields, **changes})


def step(noise: str = "2") -> dict[str, Any]:
    of = {"type": "gaussian", "noise_multiplier": noise}
    return {"type": "poisson_sampled", "rate": "0.05", "of": of}


def charge(mechanism: dict[str, Any], units: int) -> Loss:
    return price(parse_mechanism(mechanism), "add_remove").charge(units)


def submitted(world: World, root: UUID, **changes: Any) -> UUID:
    request = JobRequest("train", world.inputs(root), asked(**changes), "a test")
    made = world.admissions.submit(world.engineer, request, keyed(world.engineer, "jobs", "t"))
    return UUID(made["id"])


def run(world: World, database_url: str, job_id: UUID) -> Job:
    settings = Settings(database_url=database_url, home=world.home)
    run_job(Context(settings, world.make_session, "w", world.journal), job_id)
    with snapshot(world.make_session) as session:
        job = session.get_one(Job, job_id)
        session.expunge(job)
        return job


def kinds(world: World, job: Job) -> list[str]:
    with snapshot(world.make_session) as session:
        statement = select(Entry.kind).where(Entry.reservation_id == job.reservation_id)
        return list(session.scalars(statement.order_by(Entry.seq)))


def test_a_run_that_looks_at_the_norms_first_is_charged_for_both_and_says_what_it_chose(
    world: World, database_url: str
) -> None:
    root = world.open_root("rdp-mix/1", "8", "1e-5")
    job_id = submitted(world, root, clip=LOOK)
    look = {"type": "exponential", "epsilon": "0.2"}
    both = charge(look, 1) + charge(step(), 20)
    assert world.budget(root).reserved == both
    job = run(world, database_url, job_id)
    assert job.state == "settled"
    assert kinds(world, job) == ["reserved", "posted"]
    assert (world.budget(root).committed, world.budget(root).reserved) == (both, Loss.zero())
    result = world.jobs.result(world.engineer, job_id)
    lines = world.jobs.progress_after(world.engineer, job_id, 0)
    # an epsilon of this filter holds at the delta of its budget, though the job brings none
    assert [(each["step"], each["delta"]) for each in lines] == [(10, "0.00001"), (20, "0.00001")]
    assert Decimal(lines[0]["epsilon"]) < Decimal(lines[1]["epsilon"])
    posted = world.jobs.charges(world.engineer, job_id)[-1]
    assert (posted["kind"], posted["at_delta"]) == ("posted", "0.00001")
    assert posted["alone"]["epsilon"] == lines[1]["epsilon"]
    assert Decimal(result["clip_norm_l2"]) in clip_grid()
    assert result["audit"]["verdict"] == "consistent"
    assert world.verified()


@pytest.mark.parametrize("clip", [LOOK, FOLLOWED, {"mode": "flat", "norm_l2": "1"}])
def test_what_a_refused_training_is_told_would_fit_fits_and_a_step_more_does_not(
    world: World, clip: dict[str, Any]
) -> None:
    root = world.open_root("rdp-mix/1", "3", "1e-5")
    fields = {"clip": clip, "steps": 4000, "noise": {"noise_multiplier": "1"}}
    quote = QuoteRequest(world.inputs(root), kind="train", spec=asked(**fields))
    found = world.admissions.quote(world.engineer, quote)
    assert found["admitted_now"] is False
    with pytest.raises(BudgetExceeded) as refused:
        submitted(world, root, **fields)
    fits = refused.value.fits
    assert fits == found["fits"]
    units, noise = fits["max_units"], fits["noise_multiplier_at_asked_units"]
    assert isinstance(units, int)
    assert 0 < units < 4000
    with pytest.raises(BudgetExceeded):
        submitted(world, root, **{**fields, "steps": units + 1})
    job = submitted(world, root, **{**fields, "steps": units})
    world.jobs.cancel(world.engineer, job)
    assert world.budget(root).reserved == Loss.zero()
    assert isinstance(noise, str)
    submitted(world, root, **{**fields, "noise": {"noise_multiplier": noise}})


def test_no_noise_is_offered_that_the_counts_of_a_moving_c_could_not_bear(world: World) -> None:
    root = world.open_root("rdp-mix/1", "3", "1e-5")
    clip = {**FOLLOWED, "adaptive": {**FOLLOWED["adaptive"], "count_noise": "1"}}  # type: ignore[dict-item]
    fields = {"clip": clip, "steps": 4000, "noise": {"noise_multiplier": "1"}}
    with pytest.raises(BudgetExceeded) as refused:
        submitted(world, root, **fields)
    assert refused.value.fits["noise_multiplier_at_asked_units"] is None
    submitted(world, root, **{**fields, "steps": refused.value.fits["max_units"]})


def test_a_look_that_leaves_no_room_for_a_step_fits_nothing(world: World) -> None:
    root = world.open_root("rdp-mix/1", "0.1", "1e-5")
    with pytest.raises(BudgetExceeded) as refused:
        submitted(world, root, clip=LOOK)
    assert refused.value.fits["max_units"] == 0
    assert refused.value.fits["noise_multiplier_at_asked_units"] is None


def test_an_optimizer_that_holds_other_parameters_ends_the_job_before_anything_is_charged(
    world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No spec can ask for one: this is a fault of ours, planted, and it costs nobody anything."""

    def with_a_stranger(spec: Any, parameters: Any) -> torch.optim.Optimizer:
        return make_optimizer(spec, [*parameters, torch.nn.Parameter(torch.zeros(1))])

    monkeypatch.setattr(engine, "make_optimizer", with_a_stranger)
    root = world.open_root("rdp-mix/1", "8", "1e-5")
    job = run(world, database_url, submitted(world, root, clip=LOOK))
    assert (job.state, job.failure_code) == ("failed", "engine-refused")
    assert kinds(world, job) == ["reserved", "voided"]
    assert (world.budget(root).committed, world.budget(root).reserved) == (Loss.zero(),) * 2


def test_a_target_is_solved_with_the_look_in_it_and_the_whole_passes(world: World) -> None:
    root = world.open_root("rdp-mix/1", "1", "1e-5")
    target = {"target": {"epsilon": "1", "delta": "1e-5"}}
    job_id = submitted(world, root, clip=LOOK, noise=target)
    with snapshot(world.make_session) as session:
        spec = session.get_one(Job, job_id).spec
    assert Decimal(spec["noise"]["noise_multiplier"]) > 0
    assert spec["clip"] == LOOK
    with pytest.raises(BudgetExceeded):
        submitted(world, root, steps=1)
    with pytest.raises(InvalidParameter):
        submitted(world, root, clip={**LOOK, "norm_l2": "1"})
