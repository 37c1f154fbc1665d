"""Layer "algorithms, utility, bias": counts, sums, means, keys and bounds of queries (R24).

A query is planned anew from its stored spec and the public schema, and what was charged is held
against that plan.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from app.domain.errors import DomainError
from app.domain.mechanisms.groups import from_record
from app.domain.mechanisms.parsing import (
    DiscreteGaussian,
    DiscreteLaplace,
    Exponential,
    Mechanism,
    Repeated,
    Threshold,
)
from app.domain.queries import QueryPlan
from app.reporting.criteria.findings import Tally, Verdict
from app.reporting.criteria.records import (
    Records,
    exact,
    job_id,
    nodes,
    read_mechanism,
)
from app.reporting.criteria.registry import criterion
from app.reporting.evidence import JobEvidence, ReservationEvidence

NO_QUERY: Final = "no query was admitted"
AVERAGES: Final = ("mean", "variance", "stdev")
BOUNDED: Final = ("sum", "mean", "variance", "stdev", "quantile", "histogram")
NOT_PLANNED: Final = "its spec cannot be planned from this record"


@criterion("N226-13")
def contribution_noise(records: Records) -> Verdict:
    """The noise that caps, bounds and epsilon ask for, against the noise that was charged."""
    tally = Tally()
    for job in records.jobs("query", "profile"):
        plan = records.planned(job)
        if plan is None:
            tally.unseen.append((job_id(job), NOT_PLANNED))
            continue
        fault = _too_little(plan, job, records.parts_of(job), records)
        if fault is None:
            tally.fine.append(job_id(job))
        else:
            tally.faults.append((job_id(job), fault))
    for reservation in records.evidence["reservations"]:
        _judge_restated(reservation, tally)
    return tally.verdict(
        empty=NO_QUERY,
        fine="planned anew, every charged noise is at least what caps and bounds ask for",
        method="recompute",
    )


@criterion("N226-14")
def histogram_bins(records: Records) -> Verdict:
    """Groups are public, or their keys pass a noisy threshold that has its own charge."""
    tally = Tally()
    for job in records.jobs("query", "profile"):
        if job["kind"] == "profile":
            groups = [by for each in job["spec"].get("groupings", []) for by in each.get("by", [])]
            shows_keys = False  # it counts groups and never shows one
        else:
            groups, shows_keys = list(job["spec"].get("group_by") or []), True
        if not groups:
            continue
        fault = _keys_fault(groups, job, records, shows_keys=shows_keys)
        if fault is None:
            tally.fine.append(job_id(job))
        elif fault:
            tally.faults.append((job_id(job), fault))
        else:
            tally.unseen.append(
                (job_id(job), "the schema of a grouped column is not in the record")
            )
    return tally.verdict(
        empty="no query groups by anything",
        fine="keys are declared and public, or pass a charged threshold",
    )


@criterion("N226-F12")
def bounds_without_looking(records: Records) -> Verdict:
    """Bounds stand in the public schema or the request; one that was chosen was charged."""
    tally = Tally()
    for job in records.jobs("query", "profile"):
        asked = job["spec"].get("measures") or job["spec"].get("values") or []
        bounded = [each for each in asked if each.get("fn", "quantile") in BOUNDED]
        if not bounded:
            continue
        fault = next((fault for each in bounded if (fault := _bounds_fault(each, records))), None)
        if fault is None:
            tally.fine.append(job_id(job))
        else:
            tally.faults.append((job_id(job), fault))
    for job in records.jobs("train"):
        clip = job["spec"].get("clip") or {}
        kinds = {
            node.get("type") for part in records.parts_of(job) for node in nodes(part["mechanism"])
        }
        if "profile" in clip and "exponential" not in kinds:
            tally.faults.append((job_id(job), "C was chosen by a look at norms that has no charge"))
        elif not ({"norm_l2", "profile", "adaptive"} & set(clip)):
            tally.faults.append((job_id(job), "no bound on a unit's gradient is on record"))
        else:
            tally.fine.append(job_id(job))
    return tally.verdict(
        empty="no job needs bounds",
        fine="every bound is public, given beforehand, or chosen under its own charge",
    )


@criterion("N226-F13")
def averages(records: Records) -> Verdict:
    """A mean takes a sum and a count, and both are charged."""
    tally = Tally()
    for job in records.jobs("query"):
        if not any(each.get("fn") in AVERAGES for each in job["spec"].get("measures") or []):
            continue
        plan = records.planned(job)
        if plan is None:
            tally.unseen.append((job_id(job), NOT_PLANNED))
            continue
        charged = [read_mechanism(part["mechanism"]) for part in records.parts_of(job)]
        needed = [
            plan.noisy[place].mechanism
            for output in plan.outputs
            if output.measure.fn in AVERAGES
            for place in (output.value, output.count, output.square)
            if place is not None
        ]
        counts = [output.count for output in plan.outputs if output.measure.fn in AVERAGES]
        if None in counts or _missing(needed, charged):
            tally.faults.append(
                (job_id(job), "one of the sum and the count of a mean has no charge")
            )
        else:
            tally.fine.append(job_id(job))
    return tally.verdict(
        empty="no mean, variance or deviation was asked for",
        fine="of every mean the sum and the count are charged",
        method="recompute",
    )


@criterion("N226-F14")
def extremes(records: Records) -> Verdict:
    """Nobody was given a minimum or a maximum; quantiles come from a named mechanism."""
    tally = Tally()
    quantiles = 0
    for job in records.jobs("query"):
        asked = [str(each.get("fn")) for each in job["spec"].get("measures") or []]
        parts = records.parts_of(job)
        kinds = {str(node.get("type")) for part in parts for node in nodes(part["mechanism"])}
        if {"min", "max"} & ({*asked} | kinds):
            tally.faults.append((job_id(job), "a minimum or maximum was released"))
        elif "quantile" in asked and not kinds & {
            "exponential",
            "discrete_laplace",
            "discrete_gaussian",
        }:
            tally.faults.append((job_id(job), "a quantile was released by no named mechanism"))
        else:
            tally.fine.append(job_id(job))
            quantiles += asked.count("quantile")
    return tally.verdict(
        empty=NO_QUERY,
        fine="no minimum and no maximum",
        observed={"quantiles": str(quantiles)},
    )


def _too_little(
    plan: QueryPlan, job: JobEvidence, parts: Sequence[Mapping[str, Any]], records: Records
) -> str | None:
    """Why the charged parts are not those of the plan; more noise than planned is no fault."""
    charged = [read_mechanism(part["mechanism"]) for part in parts]
    planned = [part.mechanism for part in plan.parts]
    if len(charged) != len(planned):
        return "another number of mechanisms was charged than the query draws noise for"
    for wanted, got in zip(planned, charged, strict=True):
        if got is None or not _covers(got, wanted):
            return "a charged mechanism has less noise, or a smaller sensitivity, than its query"
    return _below_caps(job, charged, records)


def _covers(got: Mechanism, wanted: Mechanism) -> bool:
    """Whether a charged mechanism is the wanted one, or that with more noise."""
    match wanted, got:
        case DiscreteLaplace(), DiscreteLaplace():
            return got.sensitivity_l1 == wanted.sensitivity_l1 and got.scale >= wanted.scale
        case DiscreteGaussian(), DiscreteGaussian():
            return got.sensitivity_l2 == wanted.sensitivity_l2 and got.sigma >= wanted.sigma
        case Threshold(), Threshold():
            same = got.groups == wanted.groups and got.delta <= wanted.delta
            return same and _covers(got.of, wanted.of)
        case Repeated(), Repeated():
            return got.count == wanted.count and _covers(got.of, wanted.of)
        case Exponential(), Exponential():
            return got.epsilon <= wanted.epsilon
    return got == wanted


def _below_caps(
    job: JobEvidence, charged: Sequence[Mechanism | None], records: Records
) -> str | None:
    """A check that asks no plan: some charge moves by L0 x rows x bound for each plain total.

    A count of rows moves by L0 x rows; a sum by that times its larger bound, in steps of its grid.
    """
    if job["kind"] != "query":
        return None
    caps = job["spec"].get("bounds") or {}
    cells = _public_cells(job["spec"].get("group_by") or [])
    groups = caps.get("max_groups", 1) if cells is None else min(caps.get("max_groups", 1), cells)
    needed = [
        groups * caps.get("max_rows", 1) * bound
        for each in job["spec"].get("measures") or []
        if (bound := _largest_step(each)) is not None
    ]
    squared = any(_is_gaussian(each) for each in charged)
    moved = [_moved(each, groups) for each in charged]
    for each in needed:
        # of Gaussian noise the L2 sensitivity is sqrt(L0) x rows x bound
        least = Fraction(each) ** 2 if squared else Fraction(each)
        if not any(found is not None and found >= least for found in moved):
            return "no charged sensitivity reaches what the caps and bounds of a total ask for"
    return None


def _is_gaussian(mechanism: Mechanism | None) -> bool:
    inner = mechanism.of if isinstance(mechanism, Threshold) else mechanism
    return isinstance(inner, DiscreteGaussian)


def _moved(mechanism: Mechanism | None, groups: int) -> Fraction | None:
    """The L1 sensitivity of additive noise; of Gaussian noise the square of what bounds it.

    A threshold's noise is on one cell, and it counts rows where a unit is one.
    """
    match mechanism:
        case DiscreteLaplace(sensitivity_l1=reach):
            return Fraction(reach)
        case DiscreteGaussian(sensitivity_l2=reach):
            return Fraction(reach) ** 2 * groups
        case Threshold(of=of, groups=cells):
            one = _moved(of, groups)
            return None if one is None else one * cells
    return None


def _public_cells(groups: Sequence[Mapping[str, Any]]) -> int | None:
    """How many groups there can be; None where their keys are private."""
    cells = 1
    for group in groups:
        if group.get("keys") == "private":
            return None
        cells *= len(group["keys"]) if "keys" in group else len(group["edges"]) - 1
    return cells


def _largest_step(measure: Mapping[str, Any]) -> Fraction | None:
    """The most by which one row moves a plain count or sum, in steps of its grid."""
    if measure.get("fn") == "count":
        return Fraction(1)
    if measure.get("fn") != "sum":
        return None
    low, high, grid = (exact(measure.get(key, "1")) for key in ("lo", "hi", "grid"))
    if low is None or high is None or not grid:
        return None
    return max(abs(low), abs(high)) / grid


def _judge_restated(reservation: ReservationEvidence, tally: Tally) -> None:
    """A mechanism on records, charged for a user: restated by the rule for groups (R7)."""
    for part in reservation["parts"]:
        if "stated" not in part:
            continue
        id_ = f"reservation:{reservation['id']}"
        stated, got = (
            read_mechanism(part["stated"].get("mechanism")),
            read_mechanism(part["mechanism"]),
        )
        try:
            wanted = None if stated is None else from_record(stated, part["stated"]["records"])
        except (DomainError, KeyError, TypeError):
            wanted = None
        if wanted is None or got is None:
            tally.unseen.append((id_, "a restated mechanism cannot be read"))
        elif got == wanted:
            tally.fine.append(id_)
        else:
            tally.faults.append((id_, "a mechanism on records was charged for fewer than the cap"))


def _keys_fault(
    groups: Sequence[Mapping[str, Any]], job: JobEvidence, records: Records, *, shows_keys: bool
) -> str | None:
    """What is wrong with the keys of a query; None where nothing is, "" where it is not seen."""
    parts = records.parts_of(job)
    kinds = {node.get("type") for part in parts for node in nodes(part["mechanism"])}
    for group in groups:
        if "bin" in group:
            if not group.get("edges"):
                return "bins have no public edges"
            continue
        if group.get("keys") == "private":
            if shows_keys and "threshold" not in kinds:
                return "private keys were shown without a charged threshold"
            continue
        column = _column(str(group.get("col")), job, records)
        if column is None:
            return ""
        if not column.get("domain") or column.get("domain_source") != "public":
            return "keys were listed that the schema does not declare as public"
        listed = group.get("keys")
        known = [(type(each), each) for each in column["domain"]]
        if isinstance(listed, list) and any((type(each), each) not in known for each in listed):
            return "a key was listed that is not in the column's public domain"
    return None


def _column(name: str, job: JobEvidence, records: Records) -> Mapping[str, Any] | None:
    """A column of the dataset, or of a table that the query joins under a name."""
    own = records.evidence["dataset"]
    documents = {**job["tables"], own["id"]: own["document"]}
    first = str(job["inputs"][0]["dataset_id"]) if job["inputs"] else own["id"]
    document, wanted = documents.get(first), name
    prefix, dot, rest = name.partition(".")
    if dot:
        joins = {str(each.get("as")): each for each in job["spec"].get("joins") or []}
        if prefix in joins:
            document, wanted = documents.get(str(joins[prefix].get("dataset_id"))), rest
    columns: Sequence[Mapping[str, Any]] = (document or {}).get("columns", [])
    return next((column for column in columns if column.get("name") == wanted), None)


def _bounds_fault(measure: Mapping[str, Any], records: Records) -> str | None:
    source = measure.get("bounds_source")
    if source is not None and source not in ("schema", "request", "charged"):
        return "bounds were taken from the data without a charge"
    has_ends = _is_number(measure.get("lo")) and _is_number(measure.get("hi"))
    if not has_ends and not measure.get("edges"):
        return "a measure has no bounds that were fixed beforehand"
    columns = records.evidence["dataset"]["document"].get("columns", [])
    of_column = [each for each in columns if each.get("name") == measure.get("col")]
    if any(each.get("bounds_source") == "observed" for each in of_column):
        return "the schema's bounds were taken from the data"
    return None


def _is_number(text: object) -> bool:
    """Whether a bound is a number."""
    return exact(text) is not None


def _missing(needed: Sequence[Mechanism], charged: Sequence[Mechanism | None]) -> bool:
    return any(all(got is None or not _covers(got, each) for got in charged) for each in needed)
