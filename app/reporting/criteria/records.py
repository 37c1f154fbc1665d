"""The evidence as rules read it: jobs with their reservations, attestations that count, plans.

Everything is read back by the code that wrote it (domain), so that a stored document that is no
longer valid is seen as such. Nothing here looks outside the evidence.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, Final

from app.domain.accounting.filters import Policy, policy_from_json
from app.domain.accounting.plan_units import PLAN_ACCOUNTANT
from app.domain.accounting.prices import Price
from app.domain.attestations import AttestationKind
from app.domain.datasets import Dataset, dataset_from_json
from app.domain.errors import DomainError
from app.domain.mechanisms.parsing import Mechanism, Part, parse_mechanism
from app.domain.partitions import ranges_from_json
from app.domain.privacy import Loss
from app.domain.profiles import parse_profile, plan_profile
from app.domain.queries import QueryPlan, parse_query, plan_query
from app.reporting.attested import standing
from app.reporting.evidence import (
    AttestationEvidence,
    BudgetEvidence,
    Evidence,
    JobEvidence,
    ReservationEvidence,
)

# of a source the evidence names the format alone; what reads a document wants the others too
_NO_SOURCE: Final = {"connection": "-", "path": "-"}


class Records:
    """One evidence document, its parts found once.

    comparisons: the report's section of published deployments; None where it has none.
    """

    def __init__(self, evidence: Evidence, comparisons: Mapping[str, Any] | None = None) -> None:
        """Nothing is read before it is asked for."""
        self.evidence = evidence
        self.comparisons = comparisons
        self._plans: dict[str, QueryPlan | None] = {}

    @property
    def dataset_id(self) -> str:
        """The evidence id of the dataset."""
        return f"dataset:{self.evidence['dataset']['id']}"

    @cached_property
    def as_of(self) -> datetime:
        """The moment at which everything is judged."""
        return datetime.fromisoformat(self.evidence["as_of"])

    @cached_property
    def dataset(self) -> Dataset | None:
        """The registered dataset; None where its document is not a valid one."""
        return read_dataset(self.evidence["dataset"]["document"], self.evidence["dataset"]["id"])

    @property
    def unit(self) -> Mapping[str, Any]:
        """The declared unit of privacy, as it is written."""
        found: Mapping[str, Any] = self.evidence["dataset"]["document"].get("unit_of_privacy") or {}
        return found

    @property
    def nominal_size(self) -> int | None:
        """The declared public size in units (R17); never a true count."""
        size = self.evidence["dataset"]["document"].get("nominal_size")
        return size if type(size) is int and size > 0 else None

    @cached_property
    def root(self) -> BudgetEvidence | None:
        """The lifetime budget, once it was opened."""
        roots = [each for each in self.evidence["budgets"] if each["kind"] == "lifetime"]
        return next((each for each in roots if each["opened_at"] is not None), None)

    @cached_property
    def policies(self) -> Mapping[str, Policy]:
        """By budget, the filter as it was frozen; plans and what cannot be read have none."""
        found = {}
        for budget in self.evidence["budgets"]:
            if budget["accountant"] == PLAN_ACCOUNTANT:
                continue
            try:
                found[budget["id"]] = policy_from_json(budget["policy"])
            except (DomainError, ValueError, KeyError, TypeError):
                continue
        return found

    @cached_property
    def prices(self) -> Mapping[str, Price]:
        """By digest, the stored prices that can be read and have this digest."""
        found = {}
        for digest, document in self.evidence["prices"].items():
            try:
                stored = Price.from_json(document)
            except (DomainError, ValueError, KeyError, TypeError):
                continue
            if stored.digest == digest:
                found[digest] = stored
        return found

    @cached_property
    def reservations(self) -> Mapping[str, ReservationEvidence]:
        """By id."""
        return {each["id"]: each for each in self.evidence["reservations"]}

    @property
    def charged(self) -> list[ReservationEvidence]:
        """The reservations of which units were started: what can have told anything of anybody."""
        return [
            each
            for each in self.evidence["reservations"]
            if any(part["started_units"] for part in each["parts"])
        ]

    @property
    def outside(self) -> list[ReservationEvidence]:
        """Those of them that ran elsewhere, where we have not seen the code."""
        return [each for each in self.charged if each["is_outside"]]

    def jobs(self, *kinds: str) -> list[JobEvidence]:
        """The jobs of these kinds, in the evidence's order."""
        return [each for each in self.evidence["jobs"] if each["kind"] in kinds]

    def parts_of(self, job: JobEvidence) -> list[Mapping[str, Any]]:
        """What was charged for a job; nothing where its reservation is not there."""
        reservation = self.reservations.get(job["reservation"])
        return [] if reservation is None else [dict(part) for part in reservation["parts"]]

    def attested(self, kind: AttestationKind) -> AttestationEvidence | None:
        """The newest attestation of a kind that counts: begun, not revoked, expired or too old."""
        return self._newest(kind, counts=True)

    def outdated(self, kind: AttestationKind) -> AttestationEvidence | None:
        """The newest of a kind that no longer counts."""
        return self._newest(kind, counts=False)

    def planned(self, job: JobEvidence) -> QueryPlan | None:
        """The plan of a query or profile, made anew from its spec; None where it cannot be."""
        key = json.dumps([job["kind"], job["spec"], job["inputs"]], sort_keys=True)
        if key not in self._plans:
            self._plans[key] = self._plan(job)
        return self._plans[key]

    def _plan(self, job: JobEvidence) -> QueryPlan | None:
        found = self._datasets(job)
        first = found.pop(str(job["inputs"][0]["dataset_id"]), None) if job["inputs"] else None
        if first is None:
            return None
        try:
            if first.blocks is not None:
                first = first.of_blocks(ranges_from_json(job["inputs"][0]["blocks"]))
            if job["kind"] == "profile":
                return plan_profile(parse_profile(job["spec"], first), first).query
            spec = parse_query(job["spec"], first, others=found)
            return plan_query(spec, first, others=found)
        except (DomainError, ValueError, KeyError, TypeError):
            return None

    def _datasets(self, job: JobEvidence) -> dict[str, Dataset]:
        """The dataset and the tables of a job, by id, as far as they can be read."""
        found = {id_: read_dataset(document, id_) for id_, document in job["tables"].items()}
        found[self.evidence["dataset"]["id"]] = self.dataset
        return {id_: each for id_, each in found.items() if each is not None}

    def _newest(self, kind: AttestationKind, *, counts: bool) -> AttestationEvidence | None:
        of_kind = [each for each in self.evidence["attestations"] if each["kind"] == kind]
        fit = [each for each in of_kind if self._counts(each) == counts]
        return max(fit, key=lambda each: (each["made_at"], each["id"]), default=None)

    def _counts(self, said: AttestationEvidence) -> bool:
        made = datetime.fromisoformat(said["made_at"])
        most = timedelta(days=self.evidence["policy"]["attestation_days_most"])
        is_in_force = standing(said, self.evidence["as_of"]) == "in force"
        return is_in_force and made <= self.as_of <= made + most


def read_dataset(document: Mapping[str, Any], dataset_id: str) -> Dataset | None:
    """A dataset from what the evidence keeps of it; None where that is not a valid one."""
    try:
        source = {**_NO_SOURCE, **document.get("source", {})}
        return dataset_from_json({**document, "source": source}, id=dataset_id)
    except (DomainError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_mechanism(document: object) -> Mechanism | None:
    """A mechanism from its stored form; None where it is refused or malformed."""
    try:
        return _mechanism(json.dumps(document, sort_keys=True))
    except (DomainError, ValueError, KeyError, TypeError):
        return None


@lru_cache(maxsize=4096)
def _mechanism(text: str) -> Mechanism:
    """Read once for each form: ten thousand charges have few of them."""
    return parse_mechanism(json.loads(text))


def held_by(budget: BudgetEvidence) -> Loss:
    """All that a budget's evidence says it holds: committed and reserved."""
    return Loss.from_json(budget["committed_charge"]) + Loss.from_json(budget["reserved_charge"])


def nodes(document: object) -> Iterator[Mapping[str, Any]]:
    """A mechanism's stored form and all that it is made of, outermost first."""
    if not isinstance(document, Mapping):
        return
    yield document
    of = document.get("of")
    for each in of if isinstance(of, list) else [of]:
        yield from nodes(each)


def exact(text: object) -> Fraction | None:
    """A decimal text as an exact number; None where it is none, or has no bound."""
    if not isinstance(text, str):
        return None
    try:
        value = Decimal(text)
    except ArithmeticError:
        return None
    return Fraction(value) if value.is_finite() else None


def part_of(document: Mapping[str, Any]) -> Part | None:
    """A charged part with the units that it was admitted for; None where it cannot be read."""
    mechanism = read_mechanism(document["mechanism"])
    return None if mechanism is None else Part(mechanism, document["max_units"])


def job_id(job: JobEvidence) -> str:
    """The evidence id of a job."""
    return f"job:{job['id']}"
