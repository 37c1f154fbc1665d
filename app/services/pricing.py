"""From a request to its exact price: outside any lock, without a row, before anything is spent.

Everything that can be refused for its parameters is refused here (L5). What comes out is frozen:
the spec that will run, the parts that will be charged, and the scopes that have to admit them.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetRow, DatasetVersion
from app.db.repositories import budgets as budget_rows
from app.domain.accounting.calibration import calibrate, target_policy
from app.domain.accounting.plan_units import units_by_slot
from app.domain.accounting.plans import Plan
from app.domain.accounting.prices import Price, charge_parts, price
from app.domain.datasets import Dataset, Relation, dataset_from_json
from app.domain.errors import InvalidParameter, NotAllowed, NotFound, ScopeClosed
from app.domain.jobs import JobKind
from app.domain.mechanisms.parsing import Part
from app.domain.partitions import AskedBlocks, Ranges, choose, most_blocks, ranges_to_json
from app.domain.privacy import Loss
from app.domain.profiles import ProfilePlan, ProfileSpec, parse_profile, plan_profile
from app.domain.queries import QueryPlan, QuerySpec, parse_query, plan_query
from app.domain.queries.joins import named_datasets
from app.domain.releases import release_sha256
from app.domain.training import TrainSpec, evaluation_dataset_id, parse_training
from app.domain.training.installed import InstalledSpec
from app.domain.training.offer import OURS, Offer
from app.services import access, plans
from app.services.access import Caller
from app.services.holdings import Holding
from app.services.models import require_accepted
from app.services.parts import parse_parts, slots_asked, slots_of
from app.services.public_tables import look_up_public

INPUTS_MOST = 16
UNITS_MOST = 2**40
SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class InputRequest:
    """One dataset version that a request is about, and the leaf budget it is charged to.

    slots: of a job of ours on a plan (R10): the slot of each of its parts in order, or one for all.
    """

    dataset_id: UUID
    version: int
    budget_id: UUID
    blocks: AskedBlocks = "all"
    slots: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The stored form; of an input that was looked up, with the very blocks it is charged to.

        `"all"` where the dataset has none.
        """
        document: dict[str, Any] = {
            "dataset_id": str(self.dataset_id),
            "version": self.version,
            "budget_id": str(self.budget_id),
            "blocks": "all" if self.blocks == "all" else ranges_to_json(self.blocks),
        }
        return {**document, "slots": list(self.slots)} if self.slots else document


@dataclass(frozen=True, slots=True)
class Resolved:
    """A request's input with what the database says of it.

    request: names the blocks that are charged. dataset: as large as these are (R17).
    path: the leaf budget and its ancestors, leaf first.
    is_live: whether its version is a live table, whose rows change without another version.
    """

    request: InputRequest
    dataset: Dataset
    relation: Relation
    path: tuple[Budget, ...]
    is_live: bool = False


@dataclass(frozen=True, slots=True)
class PricedRequest:
    """A request that is valid, calibrated and priced, and not yet admitted.

    prices: one price a part; `loss` charges every part at its `max_units`.
    budget_ids: leaf and ancestors without repeats, in id order: the lock order.
    parts_at_epsilon: the parts of the same query at another target; None for other kinds.
    plan: what a query or a profile draws, for the preview of a quote.
    slots: the slot of each part, where a leaf is a plan (R10); else none.
    stated: of each part that was converted to the unit of the dataset, what was stated (R7).
    public_versions: by id, of each public dataset that the job will read.
    release_sha256: what an equal query is known by; None of what is never answered twice.
    """

    kind: JobKind | None
    spec: Mapping[str, Any]
    inputs: tuple[InputRequest, ...]
    parts: tuple[Part, ...]
    prices: tuple[Price, ...]
    loss: Loss
    budget_ids: tuple[UUID, ...]
    relation: Relation
    parts_at_epsilon: Callable[[str], Sequence[Part]] | None = None
    asked_epsilon: Decimal | None = None
    salt: str = field(default_factory=lambda: secrets.token_hex(SALT_BYTES))
    figures: Mapping[str, Any] = field(default_factory=dict)
    plan: QueryPlan | ProfilePlan | None = None
    slots: tuple[str, ...] = ()
    stated: tuple[Mapping[str, Any] | None, ...] = ()
    public_versions: Mapping[str, int] = field(default_factory=dict)
    release_sha256: str | None = None

    def afresh(self) -> "PricedRequest":
        """The same request asked once more: nothing that is drawn for a job is shared."""
        return replace(self, salt=secrets.token_hex(SALT_BYTES))

    @property
    def max_units(self) -> int:
        """All units of all parts."""
        return sum(part.max_units for part in self.parts)

    def ranges_in(self, dataset_id: UUID) -> Ranges | None:
        """The blocks of a dataset that are asked for; None where it has no blocks."""
        named = next(each.blocks for each in self.inputs if each.dataset_id == dataset_id)
        return None if named == "all" else named

    @property
    def slot_units(self) -> dict[str, int]:
        """The units that are asked of each slot of a plan; none where no leaf is one."""
        return units_by_slot(
            {"slot": slot, "units": part.max_units}
            for slot, part in zip(self.slots, self.parts, strict=False)
        )

    def parts_json(self) -> list[dict[str, Any]]:
        """The parts as a reservation stores them."""
        return [
            {
                "mechanism": part.mechanism.to_json(),
                "price": priced.digest,
                "max_units": part.max_units,
                **({"slot": self.slots[index]} if self.slots else {}),
                **({"stated": self.stated[index]} if self._is_converted(index) else {}),
            }
            for index, (part, priced) in enumerate(zip(self.parts, self.prices, strict=True))
        ]

    def _is_converted(self, index: int) -> bool:
        return bool(self.stated) and self.stated[index] is not None


def resolve_inputs(
    session: Session, caller: Caller, inputs: Sequence[InputRequest]
) -> tuple[Resolved, ...]:
    """Look up the inputs of a request and check that this caller may charge their leaves.

    Raises:
        NotFound: no such dataset, version or budget, or none that the caller may know of.
        NotAllowed: the caller may see a budget but not charge it.
        InvalidParameter: a budget of another dataset, a dataset twice, two relations in one job.
    """
    if not 1 <= len(inputs) <= INPUTS_MOST:
        raise InvalidParameter("/inputs", f"1 to {INPUTS_MOST} inputs are taken.")
    if len({asked.dataset_id for asked in inputs}) < len(inputs):
        raise InvalidParameter("/inputs", "A dataset is named once.")
    resolved = tuple(
        _resolve_input(session, caller, asked, f"/inputs/{index}")
        for index, asked in enumerate(inputs)
    )
    if len({each.relation for each in resolved}) > 1:
        # one mechanism is priced in one relation; a mixed job would charge somebody too little
        raise InvalidParameter("/inputs", "All inputs of a job share one neighbouring relation.")
    return resolved


def _resolve_input(session: Session, caller: Caller, asked: InputRequest, pointer: str) -> Resolved:
    row = session.get(DatasetRow, asked.dataset_id)
    if row is None or not access.may_read_dataset(session, caller, row.id):
        raise NotFound("dataset", str(asked.dataset_id))
    if row.access != "private" or row.relation is None:
        raise InvalidParameter(f"{pointer}/dataset_id", "A public dataset has no budget to charge.")
    if row.state != "active":
        raise ScopeClosed({"kind": "dataset", "name": row.name}, row.state)
    version = session.get(DatasetVersion, (row.id, asked.version))
    if version is None:
        raise NotFound("dataset version", f"{asked.dataset_id}@{asked.version}")
    leaf = session.get(Budget, asked.budget_id)
    if leaf is None or not access.may_read_budget(session, caller, leaf):
        raise NotFound("budget", str(asked.budget_id))
    if leaf.dataset_id != row.id:
        raise InvalidParameter(f"{pointer}/budget_id", "The budget belongs to another dataset.")
    if plans.is_plan(leaf) and leaf.opened_at is None:
        # no slot of it is frozen yet
        scope = {"kind": leaf.kind, "budget_id": str(leaf.id), "name": leaf.name}
        raise ScopeClosed(scope, leaf.state)
    if leaf.kind not in ("lifetime", "allocation"):
        raise InvalidParameter(f"{pointer}/budget_id", "Name the budget that the window limits.")
    if not access.may_charge(session, caller, leaf):
        raise NotAllowed("charge this budget", "ml_engineer of a project that holds it")
    dataset = dataset_from_json(row.document, id=str(row.id))
    if dataset.blocks is not None:
        ranges = choose(
            asked.blocks,
            closed=version.closed_blocks,
            most=most_blocks(dataset.blocks),
            pointer=f"{pointer}/blocks",
        )
        asked, dataset = replace(asked, blocks=ranges), dataset.of_blocks(ranges)
    elif asked.blocks != "all":
        raise InvalidParameter(f"{pointer}/blocks", "The dataset has no blocks; name all of it.")
    return Resolved(
        request=asked,
        dataset=dataset,
        relation=cast(Relation, row.relation),
        path=tuple(budget_rows.path_of(session, leaf)),
        is_live=version.format == "table",
    )


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A request that is looked up and parsed; pricing it needs no database any more.

    leaf: the leaf budget as it stands, against which a target is solved (R11); None where
        it is a plan, whose slots leave nothing to solve.
    plans: the leaves that are plans (R10). slots: as asked for, one a part, or one for all.
    slots_at: the pointer of a slot, with a place for its part's number.
    others: what a query may join: the further inputs, and public datasets that it names.
    public_versions: by id, the version of each public dataset that the job will read.
    is_live: whether some input is a live table.
    """

    inputs: tuple[InputRequest, ...]
    dataset: Dataset
    relation: Relation
    budget_ids: tuple[UUID, ...]
    leaf: Holding | None
    query: QuerySpec | None = None
    others: Mapping[str, Dataset] = field(default_factory=dict)
    profile: ProfileSpec | None = None
    training: TrainSpec | None = None
    parts: tuple[Part, ...] = ()
    stated: tuple[Mapping[str, Any] | None, ...] = ()
    plans: tuple[Plan, ...] = ()
    slots: tuple[str | None, ...] = ()
    slots_at: str = "/inputs/0/slots/{}"
    public_versions: Mapping[str, int] = field(default_factory=dict)
    is_live: bool = False

    def may_reuse(self, asked: bool | None) -> bool:  # noqa: FBT001 - as it was asked
        """Whether a release may answer this request.

        asked: None where nobody said so; then not where rows are live: they may have changed, and
            who asks a table that changes asks for what it holds now.
        """
        if self.release_sha256 is None:
            return False
        return not self.is_live if asked is None else asked

    @property
    def is_lasting(self) -> bool:
        """Whether it comes out the same while nobody changes a right, a scope or a dataset.

        A noise that is solved for a target depends on what the leaf holds as it is asked (R11); an
        installed model on what a worker has last found of it.
        """
        if self.training is None:
            return True
        return self.training.target is None and not isinstance(self.training.model, InstalledSpec)

    @property
    def release_sha256(self) -> str | None:
        """What an equal query or profile is known by; all else is released afresh."""
        asked = self.query or self.profile
        if asked is None:
            return None
        inputs = [each.to_json() for each in self.inputs]
        return release_sha256(asked.spec_sha256, inputs, self.public_versions)

    def priced(self) -> PricedRequest:
        """Calibrate and price: seconds of arithmetic at most, outside any transaction.

        Raises:
            MechanismNotPriced: no proven price in the dataset's relation (R7).
            InvalidParameter: no noise meets the target.
        """
        if self.query is not None:
            query, others = self.query, self.others
            plan = plan_query(query, self.dataset, others=others)
            priced = self._priced("query", query.to_json(), plan.parts, {})
            return replace(
                priced,
                plan=plan,
                asked_epsilon=query.epsilon,
                parts_at_epsilon=lambda text: (
                    plan_query(
                        replace(query, epsilon=Decimal(text)), self.dataset, others=others
                    ).parts
                ),
            )
        if self.profile is not None:
            profile = plan_profile(self.profile, self.dataset)
            priced = self._priced("profile", self.profile.to_json(), profile.parts, {})
            return replace(priced, plan=profile)
        if self.training is not None:
            training = _calibrated(self.training, self.relation, self.leaf)
            spec = training.to_json()
            figures = {"noise_multiplier": str(spec["noise"]["noise_multiplier"])}
            return self._priced("train", spec, training.parts(), figures)
        return self._priced(None, {}, self.parts, {})

    def _priced(
        self,
        kind: JobKind | None,
        spec: Mapping[str, Any],
        parts: Sequence[Part],
        figures: Mapping[str, Any],
    ) -> PricedRequest:
        slots = slots_of(self.plans, parts, self.slots, self.slots_at)
        prices = tuple(price(part.mechanism, self.relation) for part in parts)
        units = [part.max_units for part in parts]
        return PricedRequest(
            kind=kind,
            spec=spec,
            inputs=self.inputs,
            parts=tuple(parts),
            prices=prices,
            loss=charge_parts(list(zip(prices, units, strict=True))),
            budget_ids=self.budget_ids,
            relation=self.relation,
            figures=figures,
            slots=slots,
            stated=self.stated,
            public_versions=self.public_versions,
            release_sha256=self.release_sha256,
        )


def look_up_job(
    session: Session,
    caller: Caller,
    *,
    kind: str,
    inputs: Sequence[InputRequest],
    spec: object,
    offer: Offer = OURS,
) -> Unpriced:
    """Look up and parse a job of our own kinds.

    offer: what a training job may ask of this installation.

    Raises:
        ModelNotAccepted: an installed model that no worker has accepted.
        InvalidParameter: the spec is malformed, with a pointer into it.
    """
    if kind != "query" and len(inputs) != 1:
        raise InvalidParameter("/inputs", "A job of this kind has one input.")
    resolved = resolve_inputs(session, caller, inputs)
    dataset = resolved[0].dataset
    slots, slots_at = slots_asked([each.slots for each in inputs])
    if kind == "query":
        others = {each.dataset.id: each.dataset for each in resolved[1:]}
        public = look_up_public(session, caller, named_datasets(spec))
        others |= {dataset.id: dataset for dataset in public.datasets.values()}
        query = parse_query(spec, dataset, others=others)
        return _unpriced(
            resolved,
            query=query,
            others=others,
            slots=slots,
            slots_at=slots_at,
            public_versions=public.versions,
        )
    if kind == "profile":
        return _unpriced(resolved, profile=parse_profile(spec, dataset), slots=slots)
    if kind == "train":
        named = evaluation_dataset_id(spec)
        public = look_up_public(session, caller, () if named is None else (named,))
        training = parse_training(spec, dataset, public.datasets, offer=offer)
        require_accepted(session, training.model)
        versions = public.versions
        return _unpriced(resolved, training=training, slots=slots, public_versions=versions)
    raise InvalidParameter("/kind", "A job is a query, a profile or a train.")


def look_up_parts(
    session: Session, caller: Caller, *, inputs: Sequence[InputRequest], parts: object
) -> Unpriced:
    """Look up and parse mechanisms that run elsewhere (R15), for the datasets' unit (R7)."""
    asked = parse_parts(parts)
    resolved = resolve_inputs(session, caller, inputs)
    for index, each in enumerate(inputs):
        if each.slots:
            raise InvalidParameter(f"/inputs/{index}/slots", "each part names its own slot")
    units = [each.dataset.unit for each in resolved]
    converted = [part.for_units(units, f"/parts/{index}") for index, part in enumerate(asked)]
    return _unpriced(
        resolved,
        parts=tuple(part for part, _ in converted),
        stated=tuple(stated for _, stated in converted),
        slots=tuple(part.slot for part in asked),
        slots_at="/parts/{}/slot",
    )


def _unpriced(resolved: Sequence[Resolved], **parsed: Any) -> Unpriced:
    leaf, asked = resolved[0].path[0], resolved[0].request
    leaves = [each.path[0] for each in resolved]
    return Unpriced(
        inputs=tuple(each.request for each in resolved),
        dataset=resolved[0].dataset,
        relation=resolved[0].relation,
        budget_ids=tuple(sorted({budget.id for each in resolved for budget in each.path})),
        leaf=None
        if plans.is_plan(leaf)
        else Holding.of(leaf, None if asked.blocks == "all" else asked.blocks),
        plans=tuple(plans.plan_of(each) for each in leaves if plans.is_plan(each)),
        is_live=any(each.is_live for each in resolved),
        **parsed,
    )


def _calibrated(training: TrainSpec, relation: Relation, leaf: Holding | None) -> TrainSpec:
    """Solve a target epsilon against the named budget's own filter (R11)."""
    if training.target is None:
        return training
    if leaf is None:
        raise InvalidParameter("/spec/noise/target", "a plan has no target: its slot has the noise")
    start = training.target.start
    target = target_policy(leaf.policy, training.target.epsilon, training.target.delta, start)
    admits = target.admits if start == "empty" else replace(leaf, policy=target).admits
    noise = calibrate(training.parts, relation, admits)
    return training.with_noise(noise)
