"""Attacks on the training spec: forms that are not private, numbers that are, and lost defaults."""

import copy
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from app.domain.accounting.calibration import calibrate
from app.domain.accounting.filters import make_policy
from app.domain.accounting.prices import charge_parts, price
from app.domain.columns import Column
from app.domain.datasets import Dataset, Relation, Source, UnitOfPrivacy
from app.domain.errors import (
    DeviceUnavailable,
    InvalidParameter,
    MechanismNotPriced,
    RefusedByName,
)
from app.domain.mechanisms.parsing import Gaussian, PoissonSampled, parse_mechanism
from app.domain.privacy import Limit
from app.domain.training.offer import Offer
from app.domain.training.parsing import (
    PHYSICAL_BATCH_DEFAULT,
    TrainSpec,
    evaluation_dataset_id,
    parse_training,
)
from app.domain.training.refusals import BATCH_NUMBERS_MOST
from app.domain.training.registry import (
    CLASSES_MOST,
    LAYERS_MOST,
    MODELS,
    WIDTH_MOST,
    RegisteredModel,
)
from app.domain.training.spec import AuditSpec

PIXELS = Column("pixels", "float32", low=Decimal(0), high=Decimal(16), shape=(64,))
DIGIT = Column("digit", "int64", domain=tuple(range(10)), domain_source="public")
AGE = Column("age", "int64", low=Decimal(0), high=Decimal(120))
NOTE = Column("note", "string")
FREE = Column("free", "float64")
OPEN = Column("open", "int64", domain=(1, 2))
GRID = Column("grid", "float32", low=Decimal(0), high=Decimal(1), shape=(8, 8))
WORDS = Column("words", "int64", low=Decimal(0), high=Decimal(49), shape=(20,))
COLUMNS = (PIXELS, DIGIT, AGE, NOTE, FREE, OPEN, GRID, WORDS)
SOURCE = Source("demo", "digits.parquet", "parquet")


def _dataset(
    *,
    relation: Relation = "add_remove",
    unit: UnitOfPrivacy | None = None,
    nominal_size: int | None = 1400,
) -> Dataset:
    return Dataset(
        id="d2",
        name="digits",
        access="private",
        columns=COLUMNS,
        source=SOURCE,
        unit=unit or UnitOfPrivacy("record"),
        relation=relation,
        nominal_size=nominal_size,
    )


PUBLIC = {"d3": Dataset("d3", "digits-test", "public", COLUMNS, SOURCE)}
SPEC: dict[str, Any] = {
    "v": 1,
    "audit": {"canaries": 10_000, "delta": "1e-6"},
    "algorithm": "dp_sgd",
    "model": {"name": "mlp", "hidden": [128], "classes": 10},
    "features": ["pixels"],
    "label": "digit",
    "loss": "cross_entropy",
    "sampling": {"kind": "poisson", "rate": "0.05"},
    "normalise_by": 64,
    "steps": 400,
    "clip": {"mode": "flat", "norm_l2": "1"},
    "noise": {"noise_multiplier": "1.1"},
    "optimizer": {"name": "sgd", "learning_rate": 0.5, "momentum": 0.9},
    "physical_batch_max": 256,
    "evaluation": {"dataset_id": "d3", "every_steps": 50},
    "device": "cpu",
}


PROFILE = {"quantile": "0.5", "epsilon": "0.2"}
ADAPTIVE = {"quantile": "0.5", "learning_rate": 0.2, "count_noise": "3.5"}


def _spec(**changes: Any) -> dict[str, Any]:
    """The wire example with top-level changes; a value of None takes the key away."""
    document = copy.deepcopy(SPEC) | changes
    return {key: value for key, value in document.items() if value is not None}


def _language(
    model: Mapping[str, Any] | None = None, features: list[str] | None = None
) -> dict[str, Any]:
    """A spec of a language model."""
    sizes = {"context": 16, "width": 8, "heads": 2, "layers": 1}
    return _spec(
        model={"name": "transformer_lm", **sizes, **(model or {"alphabet": "abc \n"})},
        features=features or ["note"],
        label=None,
        loss="next_token",
        evaluation=None,
    )


def _parse(
    document: object, dataset: Dataset | None = None, public: Mapping[str, Dataset] = PUBLIC
) -> TrainSpec:
    return parse_training(document, dataset or _dataset(), public)


def test_the_charge_is_one_unit_a_step_of_the_sampled_gaussian() -> None:
    (part,) = _parse(SPEC).parts()
    assert part.max_units == 400
    assert isinstance(part.mechanism, PoissonSampled)
    assert part.mechanism.rate == Decimal("0.05")
    assert isinstance(part.mechanism.of, Gaussian)
    assert part.mechanism.of.noise_multiplier == Decimal("1.1")


def test_the_charge_survives_its_wire_form() -> None:
    (part,) = _parse(SPEC).parts()
    assert parse_mechanism(json.loads(json.dumps(part.mechanism.to_json()))) == part.mechanism


@pytest.mark.parametrize("clip", ["0.01", "1", "100"])
def test_neither_clip_norm_nor_divisor_nor_learning_rate_changes_the_charge(clip: str) -> None:
    changed = _spec(
        clip={"mode": "flat", "norm_l2": clip},
        normalise_by=7,
        optimizer={"name": "adam", "learning_rate": 0.001},
    )
    assert _parse(changed).parts() == _parse(SPEC).parts()


@pytest.mark.parametrize(
    "document",
    [
        SPEC,
        _spec(normalise_by=None, physical_batch_max=None, evaluation=None, device=None),
        _spec(model={"name": "logistic"}),
        _spec(optimizer={"name": "adam", "learning_rate": 0.01}, chunk_steps=7),
        _spec(chunk_steps=7, checkpoint_every_steps=21),
        _spec(noise={"target": {"epsilon": "4", "delta": "1e-6"}}),
        _spec(noise={"target": {"epsilon": "4", "delta": "1e-6", "from": "now"}}),
        _spec(features=["age", "pixels"], sampling={"kind": "poisson", "rate": "5e-2"}),
        _spec(model={"name": "cnn", "image": [1, 8, 8], "channels": [4, 8]}, precision="bfloat16"),
        _spec(clip={"mode": "per_layer", "norm_l2": "0.5"}),
        _spec(clip={"mode": "stream", "norm_l2": "0.5"}),
        _spec(clip={"mode": "stream", "norm_l2": "0.50", "adaptive": ADAPTIVE}),
        _spec(algorithm="dp_zo"),
        _spec(algorithm="dp_zo", difference_step=0.01),
        _spec(
            clip={"mode": "flat", "norm_l2": "1", "adaptive": {**ADAPTIVE, "low": "0.2"}},
            noise={"target": {"epsilon": "4", "delta": "1e-6"}},
        ),
        _spec(clip={"mode": "per_layer", "profile": {"quantile": "0.50", "epsilon": "0.2"}}),
        _spec(
            optimizer={
                "name": "adam",
                "learning_rate": 0.01,
                "noise_bias_correction": True,
                "schedule": {"name": "cosine", "warm_up_steps": 20},
            }
        ),
        _language(),
        _language(model={"tokens": 50}, features=["words"]),
    ],
)
def test_the_stored_form_reads_back_to_an_equal_spec(document: dict[str, Any]) -> None:
    spec = _parse(document)
    stored = json.loads(json.dumps(spec.to_json()))
    assert _parse(stored) == spec
    assert _parse(stored).to_json() == stored


def test_privacy_parameters_keep_the_text_they_were_written_with() -> None:
    stored = _parse(_spec(sampling={"kind": "poisson", "rate": "0.0500"})).to_json()
    assert stored["sampling"]["rate"] == "0.0500"


def test_every_default_stands_in_the_stored_form() -> None:
    bare = _spec(normalise_by=None, physical_batch_max=None, evaluation=None, device=None)
    stored = _parse(bare).to_json()
    assert stored["normalise_by"] == 70  # rate 0.05 of the nominal 1400, not of any row count
    assert stored["physical_batch_max"] == 256
    assert stored["chunk_steps"] == 25
    assert stored["checkpoint_every_steps"] == 50  # at least a tenth of 300 steps
    assert stored["device"] == "cpu"


@pytest.mark.parametrize(
    ("steps", "chunk", "every"),
    [(1, 25, 25), (40, 10, 10), (250, 25, 25), (1000, 25, 100), (10_000, 25, 250), (10**6, 1, 10)],
)
def test_a_run_keeps_what_it_has_each_tenth_and_at_least_each_tenth_chunk(
    steps: int, chunk: int, every: int
) -> None:
    stored = _parse(_spec(steps=steps, chunk_steps=chunk)).to_json()
    assert stored["checkpoint_every_steps"] == every


def test_a_target_has_no_charge_until_it_is_resolved() -> None:
    spec = _parse(_spec(noise={"target": {"epsilon": "4", "delta": "1e-6"}}))
    with pytest.raises(InvalidParameter, match="not resolved"):
        spec.parts()
    assert spec.parts("1.31") == spec.with_noise("1.31").parts()
    assert spec.with_noise("1.31").to_json()["noise"] == {"noise_multiplier": "1.31"}


@pytest.mark.parametrize("noise", ["0", "1e-4", "1e10", "-1", "NaN", "inf"])
def test_a_calibrated_noise_out_of_range_is_refused(noise: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        _parse(SPEC).with_noise(noise)
    assert refusal.value.pointer == "/spec/noise/noise_multiplier"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"sampling": {"kind": "shuffled", "rate": "0.05"}}, "/spec/sampling/kind"),
        ({"sampling": {"kind": "fixed_size", "batch": 64}}, "/spec/sampling/kind"),
        ({"clip": {"mode": "microbatch", "norm_l2": "1"}}, "/spec/clip"),
        ({"clip": {"mode": "flat", "norm_l2": "1", "microbatch": 8}}, "/spec/clip"),
        (
            {"clip": {"mode": "per_layer", "norm_l2": "1", "adaptive": ADAPTIVE}},
            "/spec/clip/adaptive",
        ),
        ({"model": {"name": "mlp", "hidden": [8], "batch_norm": True}}, "/spec/model"),
        ({"model": {"name": "mlp", "hidden": [8], "adapter": "sketch"}}, "/spec/model"),
        ({"model": {"name": "mlp", "hidden": [8], "lora": {"sketch": True}}}, "/spec/model"),
        ({"noise": {"noise_multiplier": "1", "kind": "integer_grid"}}, "/spec/noise"),
        ({"noise": {"noise_multiplier": "1", "grid": "1e-6"}}, "/spec/noise"),
        ({"best_of": 5}, "/spec/best_of"),
        ({"seeds": [1, 2, 3]}, "/spec/seeds"),
    ],
)
def test_a_form_that_looks_private_and_is_not_is_refused_by_its_name(
    changes: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(RefusedByName) as refusal:
        _parse(_spec(**changes))
    assert refusal.value.pointer == pointer
    assert refusal.value.instead


def _edit(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        *parents, last = path.split("/")[2:]
        for parent in parents:
            document = document[parent]
        document[last] = value

    return edit


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/spec/v", 2),
        ("/spec/v", True),
        ("/spec/algorithm", "sgd"),
        ("/spec/model", "mlp"),
        ("/spec/model/name", "forest"),
        ("/spec/model/name", ["mlp"]),
        ("/spec/model/hidden", []),
        ("/spec/model/hidden", [8] * 9),
        ("/spec/model/classes", 9),
        ("/spec/model/classes", "10"),
        ("/spec/model/layers", 3),
        ("/spec/model", {"name": "mlp", "hidden": [16_384, 16_384]}),
        ("/spec/features", []),
        ("/spec/features", "pixels"),
        ("/spec/label", "age"),
        ("/spec/label", "open"),
        ("/spec/label", "pixels"),
        ("/spec/label", "nothing"),
        ("/spec/label", 3),
        ("/spec/loss", "hinge"),
        ("/spec/sampling/kind", "weighted"),
        ("/spec/sampling/kind", ["poisson"]),
        ("/spec/sampling/rate", 0.05),
        ("/spec/sampling/rate", "0"),
        ("/spec/sampling/rate", "1.01"),
        ("/spec/sampling/rate", "-0.1"),
        ("/spec/sampling/seed", 1),
        ("/spec/normalise_by", 0),
        ("/spec/normalise_by", "64"),
        ("/spec/normalise_by", float("nan")),
        ("/spec/normalise_by", 10**400),
        ("/spec/steps", 0),
        ("/spec/steps", 1_000_001),
        ("/spec/steps", 40.0),
        ("/spec/steps", True),
        ("/spec/clip/mode", "per_sample"),
        ("/spec/clip/norm_l2", 1),
        ("/spec/clip/norm_l2", "0"),
        ("/spec/clip/norm_l2", "1e7"),
        ("/spec/clip", {"mode": "flat"}),
        ("/spec/clip", {"mode": "flat", "norm_l2": "1", "profile": PROFILE}),
        ("/spec/clip/profile", "0.1"),
        ("/spec/clip", {"mode": "flat", "adaptive": ADAPTIVE}),
        ("/spec/clip/adaptive", "0.5"),
        ("/spec/clip/adaptive/quantile", "0.99"),
        ("/spec/clip/adaptive/learning_rate", "0.2"),
        ("/spec/clip/adaptive/learning_rate", 2),
        ("/spec/clip/adaptive/count_noise", 3.5),
        ("/spec/clip/adaptive/count_noise", "1.0999"),  # the multiplier is 1.1
        ("/spec/clip/adaptive/low", "1.01"),  # C begins at 1
        ("/spec/clip/adaptive/high", "0.99"),
        ("/spec/clip/adaptive/seed", 1),
        ("/spec/clip/profile/adaptive", ADAPTIVE),
        ("/spec/clip/profile/quantile", "1"),
        ("/spec/clip/profile/quantile", "0.50005"),
        ("/spec/clip/profile/quantile", 0.5),
        ("/spec/clip/profile/epsilon", "0"),
        ("/spec/clip/profile/epsilon", "11"),
        ("/spec/clip/profile/epsilon", "0.1428"),  # 200 / epsilon is just above 1400
        ("/spec/noise", {}),
        ("/spec/noise/noise_multiplier", 1.1),
        ("/spec/noise/noise_multiplier", "0"),
        ("/spec/noise/noise_multiplier", "NaN"),
        ("/spec/noise/seed", 7),
        ("/spec/optimizer/name", "lbfgs"),
        ("/spec/optimizer/learning_rate", "0.5"),
        ("/spec/optimizer/learning_rate", float("inf")),
        ("/spec/optimizer/learning_rate", -1),
        ("/spec/optimizer/momentum", 1),
        ("/spec/physical_batch_max", 0),
        ("/spec/chunk_steps", 0),
        ("/spec/device", "tpu"),
        ("/spec/checkpoint_every_steps", 0),
        ("/spec/checkpoint_every_steps", 30),
        ("/spec/checkpoint_every_steps", "50"),
        ("/spec/checkpoint_every_steps", None),
        ("/spec/audit/canaries", 999),
        ("/spec/audit/canaries", True),
        ("/spec/audit/delta", "0"),
        ("/spec/audit/seed", 1),
        ("/spec/evaluation/dataset_id", "d2"),
        ("/spec/evaluation/dataset_id", 3),
        ("/spec/evaluation/every_steps", 0),
        ("/spec/evaluation/metric", "loss"),
        ("/spec/learning_rate", 1),
    ],
)
def test_a_bad_value_is_refused_where_it_stands(pointer: str, value: object) -> None:
    document = copy.deepcopy(SPEC)
    if pointer.startswith("/spec/clip/profile"):
        document["clip"] = {"mode": "flat", "profile": dict(PROFILE)}
    elif pointer.startswith("/spec/clip/adaptive"):
        document["clip"] = {"mode": "flat", "norm_l2": "1", "adaptive": dict(ADAPTIVE)}
    _edit(pointer, value)(document)
    with pytest.raises(InvalidParameter) as refusal:
        _parse(document)
    assert refusal.value.pointer == pointer


def test_a_profile_is_a_part_of_its_own_before_the_steps_and_leaves_their_price_alone() -> None:
    spec = _parse(_spec(clip={"mode": "flat", "profile": PROFILE}))
    look, steps = spec.parts()
    assert (look.mechanism.to_json(), look.max_units) == (
        {"type": "exponential", "epsilon": "0.2", "sampler": "opendp/0.16"},
        1,
    )
    assert (steps,) == _parse(SPEC).parts()
    assert spec.parts()[spec.steps_place] == steps
    assert spec.with_clip_norm(Decimal("0.7")).parts() == spec.parts()


def test_a_c_that_moves_costs_what_a_c_that_stays_costs() -> None:
    moving = _parse(_spec(clip={"mode": "flat", "norm_l2": "1", "adaptive": ADAPTIVE}))
    assert moving.parts() == _parse(SPEC).parts()
    assert moving.clip_adaptive is not None
    assert (moving.clip_adaptive.low, moving.clip_adaptive.high) == (Decimal("0.1"), Decimal(10))


def test_a_solved_noise_above_that_of_the_counts_is_refused_and_a_search_may_try_it() -> None:
    spec = _parse(
        _spec(
            clip={"mode": "flat", "norm_l2": "1", "adaptive": ADAPTIVE},
            noise={"target": {"epsilon": "4", "delta": "1e-6"}},
        )
    )
    assert spec.parts("4")
    assert spec.with_noise("3.5").noise_multiplier == Decimal("3.5")
    with pytest.raises(InvalidParameter) as refusal:
        spec.with_noise("3.5001")
    assert refusal.value.pointer == "/spec/clip/adaptive/count_noise"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"clip": {"mode": "per_layer", "norm_l2": "1"}}, "/spec/clip"),
        ({"clip": {"mode": "flat", "profile": PROFILE}}, "/spec/clip"),
        ({"clip": {"mode": "flat", "norm_l2": "1", "adaptive": ADAPTIVE}}, "/spec/clip"),
        ({"precision": "bfloat16"}, "/spec/precision"),
        ({"difference_step": 0}, "/spec/difference_step"),
        ({"difference_step": "0.001"}, "/spec/difference_step"),
        ({"algorithm": "dp_sgd", "difference_step": 0.001}, "/spec/difference_step"),
    ],
)
def test_what_is_for_gradients_alone_is_refused_without_them(
    changes: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        _parse(_spec(**{"algorithm": "dp_zo", **changes}))
    assert refusal.value.pointer == pointer


def test_adam_does_not_take_off_a_variance_that_moves() -> None:
    adam = {"name": "adam", "learning_rate": 0.01}
    clip = {"mode": "flat", "norm_l2": "1", "adaptive": ADAPTIVE}
    with pytest.raises(InvalidParameter) as refusal:
        _parse(_spec(clip=clip, optimizer=adam))
    assert refusal.value.pointer == "/spec/optimizer/noise_bias_correction"
    assert _parse(_spec(clip=clip, optimizer={**adam, "noise_bias_correction": False}))


@pytest.mark.parametrize("nominal_size", [None, 999])
def test_a_profile_of_too_few_records_is_refused(nominal_size: int | None) -> None:
    asked = _spec(clip={"mode": "flat", "profile": PROFILE})
    with pytest.raises(InvalidParameter, match="200 / epsilon") as refusal:
        _parse(asked, _dataset(nominal_size=nominal_size))
    assert refusal.value.pointer == "/spec/clip/profile/epsilon"
    assert _parse(asked, _dataset(nominal_size=1000)).clip_norm_l2 is None


def test_a_target_is_solved_with_the_profile_in_it() -> None:
    policy = make_policy("rdp-mix/1", Limit(Decimal(2), Decimal("1e-6")))
    profile = {"mode": "flat", "profile": {"quantile": "0.5", "epsilon": "0.5"}}
    solved = []
    for clip in ({"mode": "flat", "norm_l2": "1"}, profile):
        spec = _parse(_spec(noise={"target": {"epsilon": "2", "delta": "1e-6"}}, clip=clip))
        solved.append(calibrate(spec.parts, "add_remove", policy.admits))
        parts = spec.with_noise(solved[-1]).parts()
        prices = [(price(part.mechanism, "add_remove"), part.max_units) for part in parts]
        assert policy.admits(charge_parts(prices))
    assert Decimal(solved[1]) > Decimal(solved[0])


WIDEST = {"name": "mlp", "hidden": [16_384, 8] * 4}


@pytest.mark.parametrize(
    ("model", "most"),
    [({"name": "logistic"}, 65_536), (WIDEST, 2**27 // (64 + 4 * 16_392 + 10))],
)
def test_a_physical_batch_beyond_any_memory_is_refused(model: dict[str, Any], most: int) -> None:
    assert _parse(_spec(model=model, physical_batch_max=most)).physical_batch_max == most
    with pytest.raises(InvalidParameter) as refusal:
        _parse(_spec(model=model, physical_batch_max=most + 1))
    assert refusal.value.pointer == "/spec/physical_batch_max"


def test_the_default_physical_batch_fits_every_model_that_is_taken() -> None:
    assert _parse(_spec(model=WIDEST, physical_batch_max=None)).physical_batch_max == 256
    widest = WIDTH_MOST * (1 + LAYERS_MOST) + CLASSES_MOST
    assert PHYSICAL_BATCH_DEFAULT * widest <= BATCH_NUMBERS_MOST


MLP = {"name": "mlp", "hidden": [16_384, 2_900]}


@pytest.mark.parametrize(
    ("nominal_size", "changes", "steps"),
    [
        # Steps x (parameters x (drawn records + 256 for the noise) + 128 x rows) <= 1e16.
        (1_400, {"model": MLP}, 625_000),
        (10**9, {"sampling": {"kind": "poisson", "rate": "1"}}, 1_000),
        (10**9, {"sampling": {"kind": "poisson", "rate": "1e-9"}}, 78_000),
        (None, {"model": MLP, "normalise_by": 1_000_000}, 205),
    ],
)
def test_a_run_that_would_take_years_is_refused_by_public_numbers(
    nominal_size: int | None, changes: dict[str, Any], steps: int
) -> None:
    dataset = _dataset(nominal_size=nominal_size)
    assert _parse(_spec(**changes, steps=steps), dataset).steps == steps
    with pytest.raises(InvalidParameter) as refusal:
        _parse(_spec(**changes, steps=2 * steps), dataset)
    assert refusal.value.pointer == "/spec/steps"


@pytest.mark.parametrize("feature", ["note", "free", "digit", "grid", "nothing", 3, ["pixels"]])
def test_a_feature_without_public_bounds_is_refused(feature: object) -> None:
    # `digit` is the label; `free` has no bounds; without them scaling would read the rows.
    with pytest.raises(InvalidParameter) as refusal:
        _parse(_spec(features=["pixels", feature]))
    assert refusal.value.pointer == "/spec/features/1"


def test_a_feature_that_stands_twice_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="twice"):
        _parse(_spec(features=["age", "age"]))


@pytest.mark.parametrize(
    "target",
    [
        {"epsilon": 4, "delta": "1e-6"},
        {"epsilon": "0", "delta": "1e-6"},
        {"epsilon": "4", "delta": "1"},
        {"epsilon": "4", "delta": "0"},
        {"epsilon": "4", "delta": "1e-6", "from": "yesterday"},
        {"epsilon": "4"},
    ],
)
def test_a_target_that_no_budget_can_have_is_refused(target: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        _parse(_spec(noise={"target": target}))
    assert refusal.value.pointer.startswith("/spec/noise/target")


def test_noise_and_target_together_are_refused() -> None:
    noise = {"noise_multiplier": "1", "target": {"epsilon": "4", "delta": "1e-6"}}
    with pytest.raises(InvalidParameter, match="either"):
        _parse(_spec(noise=noise))


def test_poisson_sampling_under_replacement_is_refused() -> None:
    with pytest.raises(MechanismNotPriced, match="replace_one"):
        _parse(SPEC, _dataset(relation="replace_one"))


def test_zero_out_takes_the_same_spec() -> None:
    assert _parse(SPEC, _dataset(relation="zero_out")).parts() == _parse(SPEC).parts()


def test_a_device_without_a_worker_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(DeviceUnavailable) as refusal:
        _parse(_spec(device="gpu"))
    assert refusal.value.available == ["cpu"]
    offer = Offer(devices=frozenset({"cpu", "gpu"}))
    spec = parse_training(_spec(device="gpu"), _dataset(), PUBLIC, offer=offer)
    assert spec.to_json()["device"] == "gpu"
    assert spec.parts() == _parse(SPEC).parts()


def test_training_on_a_public_set_is_no_charged_job() -> None:
    with pytest.raises(InvalidParameter, match="public"):
        _parse(SPEC, PUBLIC["d3"])


def test_a_private_set_is_never_an_evaluation_set() -> None:
    with pytest.raises(InvalidParameter) as refusal:
        _parse(SPEC, public={"d3": _dataset()})
    assert refusal.value.pointer == "/spec/evaluation/dataset_id"


def test_an_evaluation_set_of_another_shape_is_refused() -> None:
    narrow = Column("pixels", "float32", low=Decimal(0), high=Decimal(16), shape=(16,))
    public = {"d3": Dataset("d3", "other", "public", (narrow, DIGIT), SOURCE)}
    with pytest.raises(InvalidParameter, match="pixels"):
        _parse(SPEC, public=public)


def test_without_a_nominal_size_the_divisor_must_be_given() -> None:
    nameless = _dataset(nominal_size=None)
    with pytest.raises(InvalidParameter, match="nominal size"):
        _parse(_spec(normalise_by=None), nameless)
    assert _parse(SPEC, nameless).normalise_by == 64


@pytest.mark.parametrize("document", [None, 3, [], "spec", {}])
def test_what_is_no_spec_is_refused(document: object) -> None:
    with pytest.raises(InvalidParameter):
        _parse(document)


def test_the_evaluation_set_is_found_before_the_spec_is_checked() -> None:
    assert evaluation_dataset_id(SPEC) == "d3"
    for document in (None, {}, {"evaluation": 3}, {"evaluation": {"dataset_id": 3}}):
        assert evaluation_dataset_id(document) is None


def test_every_run_is_audited_unless_that_is_refused_by_name() -> None:
    document = copy.deepcopy(SPEC)
    del document["audit"]
    assert _parse(document).audit == AuditSpec(10_000, Decimal("1e-5"))
    assert _parse({**document, "audit": {"canaries": 2000}}).audit == AuditSpec(
        2000, Decimal("1e-5")
    )
    silent = _parse({**document, "audit": None})
    assert silent.audit is None
    assert _parse(silent.to_json()) == silent


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        (_language() | {"label": "digit"}, "/spec/label"),
        (_language() | {"loss": "cross_entropy"}, "/spec/loss"),
        (_language(features=["age"]), "/spec/features/0"),
        (_language(features=["note", "note"]), "/spec/features"),
        (_language(model={"tokens": 49}, features=["words"]), "/spec/features/0"),
        (_language(model={"tokens": 50}, features=["note"]), "/spec/features/0"),
        (_language(model={"tokens": 50, "alphabet": "ab"}), "/spec/model"),
        (_language(model={"alphabet": "aa"}), "/spec/model/alphabet"),
        (_language(model={"alphabet": "ab", "heads": 3}), "/spec/model/heads"),
        (_spec(label=None), "/spec/label"),
        (_spec(loss="next_token"), "/spec/loss"),
        (
            _spec(model={"name": "cnn", "image": [1, 8, 9], "channels": [4]}),
            "/spec/model/image",
        ),
        (
            _spec(model={"name": "cnn", "image": [1, 8, 8], "channels": [4, 4, 4, 4]}),
            "/spec/model/channels",
        ),
        (
            _spec(optimizer={"name": "sgd", "learning_rate": 1, "noise_bias_correction": True}),
            "/spec/optimizer/noise_bias_correction",
        ),
        (
            _spec(
                optimizer={
                    "name": "sgd",
                    "learning_rate": 1,
                    "schedule": {"name": "cosine", "warm_up_steps": 401},
                }
            ),
            "/spec/optimizer/schedule/warm_up_steps",
        ),
    ],
)
def test_a_model_that_does_not_fit_its_columns_is_refused_where_it_stands(
    document: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        _parse(document)
    assert refusal.value.pointer == pointer


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_a_model_s_schema_names_the_options_that_its_reader_takes(model: RegisteredModel) -> None:
    known = {
        "logistic": _spec(model={"name": "logistic"}),
        "mlp": SPEC,
        "cnn": _spec(model={"name": "cnn", "image": [1, 8, 8], "channels": [4]}),
        "transformer_lm": _language(),
    }[model.name]
    stored = _parse(known).to_json()["model"]
    assert set(stored) - {"name"} <= set(model.schema["properties"])
    assert set(model.schema["required"]) <= set(stored)
    for option in model.schema["properties"]:
        with pytest.raises(InvalidParameter):
            _parse(_spec(**known | {"model": stored | {option: object()}}))
