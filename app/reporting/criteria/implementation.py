"""Layer "algorithms, utility, bias": which code ran, who read it, whether its sums are right."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from app.domain.accounting.prices import Price
from app.domain.decimals import ATTO, text_up
from app.domain.errors import DomainError
from app.domain.partitions import most_blocks, ranges_from_json
from app.domain.privacy import ORDERS
from app.reporting.criteria.crosscheck import (
    CHECKED_ORDERS,
    charged_nats,
    divergence,
    epsilon_of,
    falls_short,
    worst_case,
)
from app.reporting.criteria.findings import Tally, Verdict
from app.reporting.criteria.records import Records, exact
from app.reporting.criteria.registry import criterion

NOTHING_RAN: Final = "nothing was charged"
PRICING: Final = "dp-accounting"
# which library's code a kind of job runs
LIBRARY_OF: Final = {"query": "opendp", "profile": "opendp", "train": "torch"}
# a closed form sums as many terms as the order
LARGEST_ORDER: Final = 64
# beside a limit without delta a conversion still needs one
COMPARED_AT: Final = Decimal("1e-9")


@criterion("N226-09")
def custom_implementation(records: Records) -> Verdict:
    """The libraries that ran, against those that the organisation lets run."""
    if not records.charged:
        return Verdict("not_applicable", NOTHING_RAN)
    ran = {LIBRARY_OF[job["kind"]] for job in records.evidence["jobs"] if job["kind"] in LIBRARY_OF}
    tally = Tally()
    observed = {}
    for name in sorted({PRICING, *ran}):
        _judge_library(name, records, tally)
        version = records.evidence["service"]["libraries"].get(name)
        observed[name.replace("-", "_")] = version or "not known"
    for reservation in records.outside:
        id_ = f"reservation:{reservation['id']}"
        tally.unseen.append((id_, "an outside tool's implementation was not seen"))
    fine = "every library is on the organisation's list, and its files are the ones named there"
    return tally.verdict(empty=NOTHING_RAN, fine=fine, observed=observed)


@criterion("N226-F07")
def independent_review(records: Records) -> Verdict:
    """Whether somebody who knows has read the design and the code: their word and its date."""
    said = records.attested("expert_review")
    if said is None:
        note = "nobody states an independent review that counts at this time"
        return Verdict("not_evaluated", note, {}, (), "interview")
    facts: Mapping[str, Any] = said["facts"]
    observed = {key: str(facts[key]) for key in sorted({"reviewer", "reviewed_at"} & set(facts))}
    note = f"{said['person_name']} states an independent review, on {said['made_at'][:10]}"
    return Verdict("attested", note, observed, (f"attestation:{said['id']}",), "interview")


@criterion("PRJ-02")
def two_accountants(records: Records) -> Verdict:
    """Each price that was charged, against closed forms that share no code with it."""
    units: dict[str, int] = {}
    for reservation in records.evidence["reservations"]:
        for part in reservation["parts"]:
            most = max(units.get(part["price"], 0), part["started_units"])
            units[part["price"]] = most
    tolerance = exact(records.evidence["policy"]["crosscheck_tolerance"]) or Fraction(0)
    tally, largest = Tally(), Fraction(0)
    for digest in sorted(units):
        id_, price = f"price:{digest[:16]}", records.prices.get(digest)
        if price is None:
            tally.unseen.append((id_, "a price is not on record"))
            continue
        try:
            order = falls_short(price)
        except (LookupError, KeyError):
            tally.unseen.append((id_, f"no second method for {price.mechanism.type}"))
            continue
        if order is not None:
            reason = f"less is charged at order {order} than the mechanism loses"
            tally.faults.append((id_, reason))
        elif _is_below_worst_case(price):
            tally.faults.append((id_, "the worst case charged is below the mechanism's own"))
        else:
            apart = _apart(price, max(1, units[digest]), _delta(records))
            largest = max(largest, apart)
            if apart > tolerance:
                tally.warned.append((id_, "two upper bounds differ by more than the tolerance"))
            else:
                tally.fine.append(id_)
    return tally.verdict(
        empty=NOTHING_RAN,
        fine="no charge is below what its mechanism truly loses",
        method="recompute",
        observed={
            "second_method": f"closed forms at orders {', '.join(map(str, CHECKED_ORDERS))}",
            "largest_difference_percent": text_up(100 * largest, 2),
        },
    )


@criterion("PRJ-05")
def parallel_composition(records: Records) -> Verdict:
    """Blocks are disjoint by their declaration, and each charge names those that it read."""
    declared = records.evidence["dataset"]["document"].get("blocks")
    rows = [
        (f"entry:{row['budget']}:{row['seq']}", row.get("blocks"))
        for reservation in records.evidence["reservations"]
        for row in reservation["entries"]
    ]
    if declared is None:
        named = [
            (id_, "a charge names blocks where none are declared") for id_, said in rows if said
        ]
        if named:
            ids = tuple(id_ for id_, _ in named)
            return Verdict("not_satisfied", named[0][1], {"faults": str(len(named))}, ids)
        note = "nothing is composed in parallel: every charge is added to every other"
        return Verdict("not_applicable", note, {}, (records.dataset_id,))
    dataset = records.dataset
    if dataset is None or dataset.blocks is None:
        note = "the declared blocks do not part the units of this dataset"
        return Verdict("not_satisfied", note, {}, (records.dataset_id,))
    tally, most = Tally(), most_blocks(dataset.blocks)
    for id_, said in rows:
        if not said:
            tally.faults.append((id_, "a charge does not name its blocks"))
        elif _outside(said, most):
            tally.faults.append((id_, "a charge names blocks that there are not"))
        else:
            tally.fine.append(id_)
    observed = {"blocks": str(declared.get("kind")), "unit": str(records.unit.get("kind"))}
    if not rows:
        note = "the blocks are disjoint by their declaration; nothing was charged"
        return Verdict("satisfied", note, observed, (records.dataset_id,))
    fine = "each unit lies in one block, and each charge names the blocks that it read"
    return tally.verdict(empty=NOTHING_RAN, fine=fine, observed=observed)


def _judge_library(name: str, records: Records, tally: Tally) -> None:
    service, policy = records.evidence["service"], records.evidence["policy"]
    # what stands behind a plus is how the same version was built
    version = service["libraries"].get(name, "").partition("+")[0]
    allowed = policy["libraries"].get(name, [])
    digest, pinned = service["library_digests"].get(name), policy["library_digests"].get(name, [])
    if not version:
        tally.unseen.append(("service", f"the version of {name} is not known"))
    elif version not in allowed:
        tally.faults.append(("service", f"{name} {version} is not on the organisation's list"))
    elif pinned and digest not in pinned:
        tally.faults.append(("service", f"the files of {name} are not the ones that were listed"))
    elif not pinned or digest is None:
        tally.warned.append(("service", f"{name} is listed by version, and its files are not"))
    elif version != allowed[0]:
        tally.warned.append(("service", f"{name} {version} is an older version that is let pass"))
    else:
        tally.fine.append("service")


def _is_below_worst_case(price: Price) -> bool:
    wanted = worst_case(price.mechanism, price.relation)
    if wanted is None or price.maximum_atto is None:
        return False
    return Fraction(price.maximum_atto, ATTO) < wanted


def _apart(price: Price, units: int, delta: Decimal) -> Fraction:
    """How far two upper bounds of one piece of work are apart, relative to the lower one.

    Where the worst case is finite both have it in common.
    """
    if worst_case(price.mechanism, price.relation) is not None:
        return Fraction(0)
    charged: Sequence[tuple[int, Any]] = [
        (int(order), units * nats)
        for place, order in enumerate(ORDERS)
        if order.denominator == 1 and order <= LARGEST_ORDER
        if (nats := charged_nats(price, place)) is not None
    ]
    again = [
        (order, units * divergence(price.mechanism, price.relation, order)) for order, _ in charged
    ]
    first, second = epsilon_of(charged, delta), epsilon_of(again, delta)
    if first is None or not second:
        return Fraction(0)
    return abs(Fraction(first) - Fraction(second)) / Fraction(second)


def _delta(records: Records) -> Decimal:
    root = records.root
    delta = None if root is None or root["bound_delta"] is None else exact(root["bound_delta"])
    return COMPARED_AT if not delta else Decimal(str(root["bound_delta"] if root else ""))


def _outside(said: object, most: int) -> bool:
    try:
        ranges = ranges_from_json(said)  # type: ignore[arg-type]
    except (DomainError, ValueError, TypeError):
        return True
    return not ranges or ranges[-1][1] >= most
