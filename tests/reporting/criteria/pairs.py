"""For every automatic criterion: honest evidence, and one planted fault that turns it."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.domain.accounting.prices import Price
from app.reporting.criteria.findings import State
from app.reporting.evidence import Evidence, JobEvidence
from tests.reporting.evidence_sample import (
    QUERIES,
    divided,
    sample,
    sample_of,
)

Comparisons = Mapping[str, Any] | None


@dataclass(frozen=True)
class Pair:
    """Honest records of which a criterion is satisfied, and what is done to them.

    turns_to: the state after it. compared, miscompared: what the report sets beside this dataset.
    """

    fault: Callable[[Any], object]
    turns_to: State = "not_satisfied"
    honest: Callable[[], Evidence] = sample
    compared: Comparisons = None
    miscompared: Comparisons = None


def compared(*rows: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section of published deployments, with these rows."""
    return {"own": {"delta": "1e-9"}, "rows": rows}


def deployment(delta: str = "1e-9", unit: str = "user") -> Mapping[str, Any]:
    """A published deployment as a comparison shows it."""
    return {
        "organization": "somebody",
        "product": f"of {unit} at {delta}",
        "delta": delta,
        "converted": None,
        "unit": unit,
        "unit_is_disputed": False,
        "relation": "add_remove",
    }


def queries() -> Evidence:
    """A house that asks and never trains."""
    return sample_of(*QUERIES)


def job(evidence: Evidence, kind: str, place: int = 0) -> JobEvidence:
    """A job of a kind."""
    return [each for each in evidence["jobs"] if each["kind"] == kind][place]


def parts(evidence: Evidence, of: JobEvidence) -> list[Any]:
    """What was charged for a job."""
    found = next(each for each in evidence["reservations"] if each["id"] == of["reservation"])
    return found["parts"]


def rows(evidence: Evidence, of: JobEvidence) -> list[dict[str, Any]]:
    """The entries of a job's reservation."""
    found = next(each for each in evidence["reservations"] if each["id"] == of["reservation"])
    return found["entries"]


def with_synthesis() -> Evidence:
    """A job that makes synthetic rows, under the charge of a run."""
    evidence = sample()
    job(evidence, "train")["kind"] = "synthetic"
    return evidence


def set_size(evidence: Evidence, size: int) -> None:
    """Another declared size."""
    evidence["dataset"]["document"]["nominal_size"] = size


def _high_epsilon(evidence: Evidence) -> None:
    evidence["policy"]["ceiling_epsilon"] = "0.4"
    evidence["policy"]["low_epsilon"] = "0.1"


def _less_noise(evidence: Evidence) -> None:
    parts(evidence, job(evidence, "query"))[0]["mechanism"]["scale"] = "4e1"


def _no_threshold(evidence: Evidence) -> None:
    part = parts(evidence, job(evidence, "query", 1))[0]
    part["mechanism"] = part["mechanism"]["of"]


def _private_join(evidence: Evidence) -> None:
    asked = job(evidence, "query")
    asked["tables"] = {"other": {"access": "private"}}
    asked["spec"]["joins"] = [{"dataset_id": "other", "as": "o", "on": ["user_id", "user_id"]}]


def _uncharged_trials(evidence: Evidence) -> None:
    for row in rows(evidence, job(evidence, "train")):
        row["units"] = [0]


def _uncharged_synthesis(evidence: Evidence) -> None:
    for row in rows(evidence, job(evidence, "synthetic")):
        row["units"] = [0]


def _continuous_noise(evidence: Evidence) -> None:
    mechanism = parts(evidence, job(evidence, "query"))[0]["mechanism"]
    mechanism["type"] = "laplace"


def _clip_without_charge(evidence: Evidence) -> None:
    clip = {"mode": "flat", "profile": {"quantile": "0.5", "epsilon": "0.1"}}
    job(evidence, "train")["spec"]["clip"] = clip


def _one_charge_for_a_mean(evidence: Evidence) -> None:
    del parts(evidence, job(evidence, "query"))[1]


def _maximum(evidence: Evidence) -> None:
    job(evidence, "query")["spec"]["measures"].append({"fn": "max", "col": "distance"})


def _one_atto_less(evidence: Evidence) -> None:
    charge = evidence["budgets"][0]["committed_charge"]
    charge["maximum_atto"] = str(int(charge["maximum_atto"]) - 1)


def _half_price(evidence: Evidence) -> None:
    """A price table that takes half of what a run loses, with every reference put right."""
    part = parts(evidence, job(evidence, "train"))[0]
    stored = Price.from_json(evidence["prices"].pop(part["price"]))
    halved = Price(
        stored.mechanism,
        stored.relation,
        tuple((count, tuple(nats / 2 for nats in vector)) for count, vector in stored.terms),
        stored.maximum_atto,
        stored.delta_atto,
        stored.gaussian_1e36,
        stored.priced_by,
    )
    evidence["prices"][halved.digest] = halved.to_json()
    part["price"] = halved.digest


def _refund(evidence: Evidence) -> None:
    evidence["reservations"][0]["state"] = "voided"


def _windows(evidence: Evidence) -> None:
    evidence["budgets"] = copy.deepcopy(sample()["budgets"])


def _no_native_losses(evidence: Evidence) -> None:
    evidence["budgets"][0]["committed_charge"] = {}


PAIRS: Final[dict[str, Pair]] = {
    "N226-01": Pair(_high_epsilon),
    "N226-02": Pair(lambda e: set_size(e, 2 * 10**9)),
    "N226-04": Pair(lambda e: e["dataset"]["document"].update(unit_of_privacy={"kind": "record"})),
    "N226-05": Pair(
        lambda _: None,
        compared=compared(deployment(), deployment(delta="0.000000001")),
        miscompared=compared(deployment(), deployment(delta="1e-5")),
    ),
    "N226-06": Pair(
        lambda _: None,
        compared=compared(deployment()),
        miscompared=compared(deployment(), deployment(unit="user-day")),
    ),
    "N226-07": Pair(lambda e: e["policy"].update(delta_most="1e-12")),
    "N226-09": Pair(lambda e: e["service"]["libraries"].update(opendp="0.9.0"), honest=queries),
    "N226-13": Pair(_less_noise),
    "N226-14": Pair(_no_threshold),
    "N226-15": Pair(lambda e: job(e, "train")["spec"].update(algorithm="sgd")),
    "N226-16": Pair(_uncharged_synthesis, honest=with_synthesis),
    "N226-19": Pair(lambda e: e["refusals"].update(total=3)),
    "N226-F01": Pair(lambda e: set_size(e, 10**6), turns_to="partly_satisfied"),
    "N226-F02": Pair(lambda e: e["dataset"]["document"].update(relation="replace_one")),
    "N226-F03": Pair(_windows, turns_to="partly_satisfied", honest=lambda: sample_of("query 1")),
    "N226-F04": Pair(_no_native_losses),
    "N226-F05": Pair(_private_join),
    "N226-F08": Pair(_uncharged_trials),
    "N226-F09": Pair(_continuous_noise, honest=queries),
    "N226-F12": Pair(_clip_without_charge),
    "N226-F13": Pair(_one_charge_for_a_mean),
    "N226-F14": Pair(_maximum),
    "N226-F15": Pair(_one_atto_less),
    "PRJ-01": Pair(lambda e: job(e, "train")["spec"]["sampling"].update(kind="shuffled")),
    "PRJ-02": Pair(_half_price),
    "PRJ-03": Pair(_refund),
    "PRJ-04": Pair(lambda e: e["service"].update(key_source="numpy-mt19937"), honest=queries),
    "PRJ-05": Pair(
        lambda e: e["reservations"][0]["entries"][0].update(blocks=None), honest=divided
    ),
    "PRJ-06": Pair(lambda e: e["ledger"]["chains"][0].update(head_hash="0" * 64)),
    "PRJ-07": Pair(lambda e: job(e, "train")["spec"].update(num_microbatches=1)),
}
