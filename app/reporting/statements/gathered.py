"""Statements from the records that a report carries: of its lifetime root, for all three audiences.

Every figure comes from the section that computed it from the exact sums, never from what the
service had shown, so that statement and guarantee cannot differ.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Any, Final

from app.domain.columns import parse_columns
from app.domain.datasets import parse_unit_of_privacy
from app.domain.partitions import parse_blocks
from app.reporting.attested import in_force
from app.reporting.evidence import BudgetEvidence, Evidence
from app.reporting.sections.guarantee import held_of
from app.reporting.statements.auditor import AuditorFacts, CrossCheck, Replay, auditor_statement
from app.reporting.statements.facts import Description, LimitChange, StatementFacts
from app.reporting.statements.native import native_figures
from app.reporting.statements.officer import (
    Band,
    Justification,
    OfficerFacts,
    officer_statement,
)
from app.reporting.statements.pace import Charges, consumed_by_day, forecast, largest_uses
from app.reporting.statements.subject import subject_statement
from app.reporting.statements.wording import OUTSIDE_CAPS

GENESIS: Final = "0" * 64
_SUM_DIGITS: Final = 100


def report_statements(
    evidence: Evidence, findings: Sequence[Mapping[str, Any]], guarantee: Mapping[str, Any]
) -> dict[str, Any]:
    """The statements of a report.

    Args:
        evidence: all records.
        findings: of the criteria; empty where none were evaluated, of which nothing is then said.
        guarantee: the report's section 5, from the same evidence.

    Returns:
        {"subject", "officer", "auditor"}; each null where the dataset has no lifetime root.
    """
    root = next((each for each in evidence["budgets"] if each["parent_id"] is None), None)
    if root is None:
        return {"subject": None, "officer": None, "auditor": None}
    bounds = {each["budget"]: each for each in guarantee["proven_bound"]["budgets"]}
    facts = facts_of(evidence, root, bounds)
    return {
        "subject": subject_statement(facts),
        "officer": officer_statement(facts, _officer_facts(evidence, root, findings)),
        "auditor": auditor_statement(
            facts, _auditor_facts(evidence, root, findings, bounds[root["id"]])
        ),
    }


def facts_of(
    evidence: Evidence, budget: BudgetEvidence, bounds: Mapping[str, Mapping[str, Any]]
) -> StatementFacts:
    """The facts of one budget that is no plan.

    Args:
        evidence: all records.
        budget: one of them.
        bounds: by budget, its part of the report's section 5.
    """
    dataset = evidence["dataset"]
    document, bound = dataset["document"], bounds[budget["id"]]
    columns = parse_columns(document["columns"])
    unit = parse_unit_of_privacy(document["unit_of_privacy"], columns)
    declared = document.get("blocks")
    charged = [
        each
        for each in evidence["reservations"]
        if any(entry["budget"] == budget["id"] for entry in each["entries"])
    ]
    trained = {job["id"] for job in evidence["jobs"] if job["kind"] == "train"}
    root = next((each for each in bounds.values() if each["is_root"]), None)
    is_below = root is not None and root["budget"] != budget["id"]
    return StatementFacts(
        dataset=dataset["name"],
        budget=budget["name"],
        kind=budget["kind"],
        accountant=bound["accountant"],
        unit=unit,
        relation=str(document["relation"]),
        limit=bound["limit"],
        consumed=bound["consumed"],
        committed=bound["committed"],
        reserved=_difference(bound["consumed"], bound["committed"]),
        remaining=bound["remaining"],
        jobs=budget["by_kind"].get("posted", 0),
        has_training=any(each["job"] in trained for each in charged),
        has_outside_tools=any(each["is_outside"] and not each["is_runner"] for each in charged),
        has_outside_runners=any(each["is_outside"] and each["is_runner"] for each in charged),
        since=(budget["opened_at"] or dataset["registered_at"])[:10],
        as_of=evidence["as_of"][:10],
        entries=budget["entries"],
        head_hash=budget["head_hash"],
        bound_delta=bound["consumed"]["delta"],
        limit_changes=_changes(budget["limit_changes"]),
        openings=[str(each["date"])[:10] for each in budget["openings"]],
        span=None if budget["span"] is None else (budget["span"][0], budget["span"][1]),
        period=_period(evidence, budget),
        lifetime=None
        if root is None or not is_below
        else {"limit": root["limit"], "consumed": root["consumed"]},
        lifetime_bound_delta=None if root is None or not is_below else root["consumed"]["delta"],
        lifetime_changes=_changes(root["limit_changes"]) if root and is_below else (),
        assumptions=_caps_of_others(charged),
        blocks=None
        if declared is None
        else parse_blocks(declared, unit_kind=unit.kind, columns=columns),
        published_from=_published_from(evidence),
        description=_description(dataset["description"]),
    )


def _officer_facts(
    evidence: Evidence, root: BudgetEvidence, findings: Sequence[Mapping[str, Any]]
) -> OfficerFacts:
    charges = Charges(evidence)
    points = consumed_by_day(evidence, root, charges)
    given = in_force(evidence, "budget_justification")
    policy = evidence["policy"]
    return OfficerFacts(
        forecast=forecast(points, root["policy"]["limit"]["epsilon"], evidence["as_of"]),
        timeline=points,
        largest_uses=largest_uses(evidence, root, charges),
        band=Band(policy["low_epsilon"], policy["ceiling_epsilon"]),
        justification=Justification(f"attestation:{given[-1]['id']}", given[-1]["person_name"])
        if given
        else None,
        failed=_in_state(findings, "not_satisfied"),
        partly=_in_state(findings, "partly_satisfied"),
        not_evaluated=_in_state(findings, "not_evaluated"),
        exceptions=[
            *(f"entry:{fault['budget']}:{fault['seq']}" for fault in evidence["ledger"]["faults"]),
            *(
                f"entry:{each['id']}:{each['break_glass']['seq']} (break-glass)"
                for each in evidence["budgets"]
                if "break_glass" in each
            ),
        ],
        decisions=[
            f"approval:{each['id']} ({each['action'].replace('_', ' ')})"
            for each in evidence["approvals"]
            if each["state"] == "pending"
        ],
    )


def _auditor_facts(
    evidence: Evidence,
    root: BudgetEvidence,
    findings: Sequence[Mapping[str, Any]],
    bound: Mapping[str, Any],
) -> AuditorFacts:
    service, unit = evidence["service"], evidence["dataset"]["document"]["unit_of_privacy"]
    second = bound["converted"][1] if len(bound["converted"]) > 1 else None
    return AuditorFacts(
        native=native_figures(held_of(root)),
        second=None if second is None else {"epsilon": second["epsilon"], "delta": second["delta"]},
        policy_version=bound["version"],
        replay=Replay(
            root["entries"],
            GENESIS,
            root["head_hash"],
            [
                f"entry {fault['seq']}: {fault['reason']}"
                for fault in evidence["ledger"]["faults"]
                if fault["budget"] == root["id"]
            ],
        ),
        cross_check=_cross_check(bound),
        caps={key: value for key, value in unit.items() if key.startswith("max_")},
        libraries=service["libraries"],
        samplers={
            "query noise": service["query_sampler"],
            "training noise": service["training_sampler"],
            "keys": service["key_source"],
        },
        not_evaluated=_in_state(findings, "not_evaluated"),
    )


def _published_from(evidence: Evidence) -> str | None:
    """Since when others may read results of the dataset, by the chain of its root."""
    dates = [
        str(each["date"])
        for budget in evidence["budgets"]
        for each in budget.get("publications", ())
    ]
    return min(dates, default=None)


def _changes(moved: Sequence[Mapping[str, Any]]) -> list[LimitChange]:
    return [
        LimitChange(each["kind"], str(each["date"])[:10], each["from"], each["to"])
        for each in moved
    ]


def _cross_check(bound: Mapping[str, Any]) -> CrossCheck | None:
    check = bound["crosscheck"]
    if check["epsilon"] is None:
        return None
    difference = _minus(check["epsilon"], bound["consumed"]["epsilon"])
    return CrossCheck(check["method"], f"epsilon {check['epsilon']}", difference)


def _in_state(findings: Sequence[Mapping[str, Any]], state: str) -> list[str] | None:
    if not findings:
        return None
    return [str(each["id"]) for each in findings if each["state"] == state]


def _period(evidence: Evidence, budget: BudgetEvidence) -> str | None:
    """How long the periods of a window are; also asked of one of them."""
    by_id = {each["id"]: each for each in evidence["budgets"]}
    window = by_id.get(budget["parent_id"] or "") if budget["kind"] == "period" else budget
    return None if window is None or window["window"] is None else str(window["window"]["period"])


def _caps_of_others(charged: Sequence[Mapping[str, Any]]) -> list[str]:
    """The caps on a user's rows that outside tools are trusted to keep (R7)."""
    caps = {
        part["stated"]["records"]
        for each in charged
        if each["is_outside"]
        for part in each["parts"]
        if "stated" in part
    }
    return [OUTSIDE_CAPS.format(records=records) for records in sorted(caps)]


def _description(said: Mapping[str, Any]) -> Description:
    return Description(
        purpose=said.get("purpose"),
        trust_model=said.get("trust_model"),
        raw_viewers=tuple(said.get("raw_viewers") or ()),
        retain_until=said.get("retain_until"),
    )


def _difference(consumed: Mapping[str, str], committed: Mapping[str, str]) -> dict[str, str]:
    return {
        "epsilon": _minus(consumed["epsilon"], committed["epsilon"]),
        "delta": _minus(consumed["delta"], committed["delta"]),
    }


def _minus(one: str, other: str) -> str:
    """One decimal less another, exactly; "0" where both are the same, also without a bound."""
    if one == other:
        return "0"
    with localcontext(prec=_SUM_DIGITS):
        left = Decimal(one) - Decimal(other)
        return format(left.normalize(), "f") if left.is_finite() else str(left)
