"""Layer "privacy parameters and unit": whose presence is hidden, against whom, for how long."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from app.domain.decimals import text_up
from app.reporting.criteria.findings import Tally, Verdict, sentences
from app.reporting.criteria.records import Records, exact
from app.reporting.criteria.registry import criterion
from app.reporting.deployments import own_unit

GROUPS: Final = (2, 5, 10)
RELATIONS: Final = ("add_remove", "replace_one", "zero_out")
NO_ROOT: Final = "no lifetime budget was opened"
NOTE_USER: Final = "users are protected, and their caps are enforced"
NOT_DRAWN: Final = "nothing is set beside the figures of this dataset"
_SHOWN: Final = 4


@criterion("N226-03")
def uncovered_harm(records: Records) -> Verdict:
    """Pairs of situations that a person wrote down, and whether the unit covers them."""
    said = records.attested("harm_scenarios")
    if said is None:
        note = "no harm scenario that counts at this time is on record"
        return Verdict("not_satisfied", note, {}, (records.dataset_id,), "interview")
    scenarios = said["facts"].get("scenarios") or []
    ids = (f"attestation:{said['id']}", records.dataset_id)
    open_ones = [each for each in scenarios if not each.get("is_covered")]
    observed = {"scenarios": str(len(scenarios)), "not_covered": str(len(open_ones))}
    if not scenarios:
        return Verdict("not_satisfied", "no harm scenario is on record", observed, ids, "interview")
    if open_ones:
        note = sentences(f"not covered: {each.get('text')}" for each in open_ones)
        return Verdict("partly_satisfied", note, observed, ids, "interview")
    note = f"{said['person_name']} holds that the unit covers every scenario on record"
    return Verdict("attested", note, observed, ids, "interview")


@criterion("N226-04")
def event_level_unit(records: Records) -> Verdict:
    """A user with enforced caps hides a person; a record hides one row of his."""
    unit, ids = records.unit, (records.dataset_id,)
    kind = unit.get("kind")
    observed = {"unit": str(kind)}
    caps = {key: unit[key] for key in sorted(unit) if key.startswith("max_")}
    observed |= {key: str(value) for key, value in caps.items()}
    if kind == "user":
        if not unit.get("column") or not caps:
            note = "a user without a column or an enforced cap bounds nothing"
            return Verdict("not_satisfied", note, observed, ids)
        observed["person_key"] = str(unit["column"])
        return Verdict("satisfied", NOTE_USER, observed, ids)
    if kind == "user_period":
        note = "one user in one period is protected; over all his periods losses add up"
        return Verdict("partly_satisfied", note, observed, ids)
    observed |= _group_bounds(records)
    rationale = records.attested("unit_rationale")
    most = None if rationale is None else rationale["facts"].get("records_per_person_most")
    if rationale is not None and type(most) is int and most > 0:
        observed["records_per_person_most"] = str(most)
        note = f"records are protected; a person is stated to have at most {most}, unenforced"
        return Verdict("partly_satisfied", note, observed, (*ids, f"attestation:{rationale['id']}"))
    note = "records are protected, and how many one person has is not bounded"
    return Verdict("not_satisfied", note, observed, ids)


@criterion("N226-05")
def compared_deltas(records: Records) -> Verdict:
    """What is set beside this figure was published at its delta, or converted at it from rho."""
    drawn, tally = records.comparisons, Tally()
    if drawn is None or not drawn["rows"]:
        return Verdict("satisfied", NOT_DRAWN, {"rows": "0"})
    ours = exact(drawn["own"]["delta"])
    for row in drawn["rows"]:
        name = _deployment(row)
        converted = (row.get("converted") or {}).get("delta")
        if ours is not None and ours in (exact(row.get("delta")), exact(converted)):
            tally.fine.append(name)
        else:
            tally.faults.append((name, "deployments at different deltas are compared"))
    return tally.verdict(empty=NOT_DRAWN, fine="all that is compared stands at one delta")


@criterion("N226-06")
def compared_units(records: Records) -> Verdict:
    """What is set beside this figure protects the same unit under the same relation."""
    drawn, tally = records.comparisons, Tally()
    if drawn is None or not drawn["rows"]:
        return Verdict("satisfied", NOT_DRAWN, {"rows": "0"})
    blocks = records.evidence["dataset"]["document"].get("blocks") or {}
    ours = own_unit(str(records.unit.get("kind")), blocks.get("period"))
    for row in drawn["rows"]:
        name = _deployment(row)
        if row.get("unit") != ours or row.get("unit_is_disputed"):
            tally.faults.append((name, "deployments of different units are compared"))
        elif row.get("relation") == _relation(records):
            tally.fine.append(name)
        elif row.get("relation") in (None, "not stated"):
            tally.warned.append((name, "of a deployment the neighbouring relation is not stated"))
        else:
            tally.faults.append((name, "deployments of different relations are compared"))
    fine = "all that is compared has one unit and one relation"
    return tally.verdict(empty=NOT_DRAWN, fine=fine, observed={"unit": ours})


@criterion("N226-F02")
def neighbours(records: Records) -> Verdict:
    """The declared relation, and that of every price that was charged."""
    relation = _relation(records)
    if relation not in RELATIONS:
        note = "the dataset declares no neighbouring relation"
        return Verdict("not_satisfied", note, {}, (records.dataset_id,))
    tally = Tally()
    for reservation in records.evidence["reservations"]:
        id_ = f"reservation:{reservation['id']}"
        of_parts = [records.prices.get(part["price"]) for part in reservation["parts"]]
        if None in of_parts:
            tally.unseen.append((id_, "a price is not on record"))
        elif any(each is not None and each.relation != relation for each in of_parts):
            tally.faults.append((id_, "a charge was priced in another relation"))
        else:
            tally.fine.append(id_)
    hides = {
        "add_remove": "presence, and so the size of the dataset too",
        "replace_one": "a unit's values; the size of the dataset is not hidden",
        "zero_out": "a unit's values, by zeroing them; the size is not hidden",
    }
    observed = {"relation": relation, "hides": hides[relation]}
    if not records.evidence["reservations"]:
        ids = (records.dataset_id,)
        return Verdict("satisfied", "declared; nothing was charged", observed, ids)
    return tally.verdict(empty="", fine="declared, and every price is of it", observed=observed)


@criterion("N226-F03")
def accumulation(records: Records) -> Verdict:
    """What a period allows beside what a lifetime allows."""
    root = records.root
    if root is None:
        return Verdict("not_applicable", NO_ROOT)
    ids: tuple[str, ...] = (f"budget:{root['id']}",)
    figures = root["figures"]
    if figures is None or exact(figures["consumed"]["epsilon"]) is None:
        note = "the lifetime total is not bounded"
        return Verdict("not_satisfied", note, {}, ids)
    observed = {
        "lifetime_epsilon": figures["consumed"]["epsilon"],
        "lifetime_limit": figures["limit"]["epsilon"],
    }
    windows = [each for each in records.evidence["budgets"] if each["kind"] == "window"]
    for window in windows:
        limit = None if window["figures"] is None else window["figures"]["limit"]["epsilon"]
        calendar = (window["window"] or {}).get("period")
        observed[f"window_{window['id']}"] = f"{limit} for each {calendar}"
        ids = (*ids, f"budget:{window['id']}")
    if records.unit.get("kind") == "user_period":
        note = "the unit is a user's period: each period adds to what is known of one user"
        return Verdict("partly_satisfied", note, observed, ids)
    if windows:
        note = "a window renews; the lifetime total stands beside it and is the bound"
        return Verdict("partly_satisfied", note, observed, ids)
    return Verdict("satisfied", "nothing renews: one lifetime total bounds all", observed, ids)


@criterion("PRJ-08")
def overlapping_people(records: Records) -> Verdict:
    """Other datasets of the same people, whose losses add to this one's."""
    dataset, root = records.evidence["dataset"], records.root
    observed = {"datasets_of_population": str(dataset["population_datasets"])}
    ids: tuple[str, ...] = (records.dataset_id,)
    if dataset["population"] is None:
        note = "no population is named, so whether people are in other datasets is not known"
        return Verdict("not_evaluated", note, observed, ids)
    total = dataset.get("population_sum")
    if total is not None:
        observed["epsilon_of_population"] = total["epsilon"]
        observed["delta_of_population"] = total["delta"]
    elif dataset["population_datasets"] == 1 and root is not None and root["figures"] is not None:
        observed["epsilon_of_population"] = root["figures"]["consumed"]["epsilon"]
    said = records.attested("population_overlap")
    if "epsilon_of_population" not in observed:
        note = "the losses of the other datasets of this population are not in this record"
        return Verdict("not_evaluated", note, observed, ids)
    if said is None:
        note = "the sum bounds a person in all of them; nobody stated that no others exist"
        return Verdict("partly_satisfied", note, observed, ids)
    note = f"the sum is an upper bound, as far as {said['person_name']} knows all datasets"
    return Verdict("attested", note, observed, (*ids, f"attestation:{said['id']}"))


def _group_bounds(records: Records) -> dict[str, str]:
    """What the bound becomes for several records of one person: k epsilon, delta aside."""
    root = records.root
    figures = None if root is None else root["figures"]
    epsilon = None if figures is None else exact(figures["consumed"]["epsilon"])
    if epsilon is None:
        return {}
    return {f"epsilon_of_{k}_records": text_up(Fraction(epsilon * k), _SHOWN) for k in GROUPS}


def _relation(records: Records) -> str | None:
    found = records.evidence["dataset"]["document"].get("relation")
    return found if isinstance(found, str) else None


def _deployment(row: Mapping[str, Any]) -> str:
    return f"deployment:{row.get('organization')} {row.get('product')}"
