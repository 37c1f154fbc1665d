"""Layer "privacy parameters and unit": what else is released, and whether all of it adds up."""

from collections.abc import Mapping
from typing import Any, Final

from app.domain.decimals import parse_decimal
from app.domain.errors import DomainError
from app.domain.privacy import Loss
from app.reporting.criteria.findings import Tally, Verdict, sentences
from app.reporting.criteria.records import Records, job_id
from app.reporting.criteria.registry import criterion
from app.reporting.criteria.totals import Total, totals
from app.reporting.evidence import BudgetEvidence

REFUTED: Final = "refuted"
AUDITS_SHOWN: Final = 5


@criterion("N226-08")
def other_releases(records: Records) -> Verdict:
    """A dated declaration of everything else that was made of the same records."""
    said = records.attested("other_releases")
    if said is None:
        old = records.outdated("other_releases")
        note = "no declaration of other releases is on record"
        if old is not None:
            note = "the declaration of other releases no longer counts at this time"
        outdated = () if old is None else (f"attestation:{old['id']}",)
        return Verdict("not_satisfied", note, {}, (*outdated, records.dataset_id), "interview")
    releases = said["facts"].get("releases") or []
    bare = [
        each for each in releases if not each.get("is_private") and not each.get("risk_assessment")
    ]
    observed = {"releases": str(len(releases)), "without_protection": str(len(bare))}
    ids = (f"attestation:{said['id']}", records.dataset_id)
    if bare:
        note = sentences(f"no risk assessment beside: {each.get('title')}" for each in bare)
        return Verdict("partly_satisfied", note, observed, ids, "interview")
    note = f"{said['person_name']} declares all other releases"
    return Verdict("attested", note, observed, ids, "interview")


@criterion("N226-F05")
def sensitive_post_processing(records: Records) -> Verdict:
    """No step after the noise reads private rows: what a query joins is public or charged."""
    tally = Tally()
    for job in records.jobs("query", "profile", "train"):
        reason = _reads_uncharged(job["spec"], job["inputs"], job["tables"], _own(records))
        if reason is None:
            tally.fine.append(job_id(job))
        elif reason:
            tally.faults.append((job_id(job), reason))
        else:
            tally.unseen.append((job_id(job), "a joined table is not in the record"))
    return tally.verdict(
        empty="no job was admitted",
        fine="order, limits and conditions act on released values alone; other input is charged",
    )


@criterion("N226-F06")
def empirical_audits(records: Records) -> Verdict:
    """What canaries say of runs: they can refute a claim and prove none."""
    tally = Tally()
    observed = {}
    for job in records.jobs("train"):
        audit = (job["result"] or {}).get("audit")
        if not isinstance(audit, Mapping):
            tally.unseen.append((job_id(job), "the run carried no canaries, or was not finished"))
            continue
        bound, claimed = _number(audit.get("bound_epsilon")), _number(audit.get("claimed_epsilon"))
        if audit.get("verdict") == REFUTED:
            tally.faults.append((job_id(job), "its canaries refute what the run claims"))
        elif bound is not None and claimed is not None and bound > claimed:
            tally.faults.append((job_id(job), "its lower bound lies above the claimed epsilon"))
        else:
            tally.warned.append(
                (job_id(job), "consistent with its canaries: supporting evidence only, no proof")
            )
        if bound is not None and claimed is not None:
            observed[f"job_{job['id']}"] = f"at least {bound}, claimed {claimed}"
    return tally.verdict(
        empty="no model was trained",
        fine="",
        method="test",
        observed=dict(sorted(observed.items())[:AUDITS_SHOWN]),
    )


@criterion("N226-F15")
def composition(records: Records) -> Verdict:
    """Every budget's total, summed again from its charges by the stored prices."""
    if records.root is None:
        return Verdict("not_applicable", "no lifetime budget was opened")
    tally = Tally()
    for broken in records.evidence["ledger"]["faults"]:
        at = f"entry:{broken.get('budget')}:{broken.get('seq')}"
        tally.faults.append((at, f"the chain is broken: {broken.get('reason')}"))
    sums = totals(records)
    for budget in records.evidence["budgets"]:
        id_, found = f"budget:{budget['id']}", sums.get(budget["id"])
        if found is None:
            tally.unseen.append((id_, "a charge's price is not on record"))
            continue
        fault = _differs(budget, found, records)
        if fault is None:
            tally.fine.append(id_)
        else:
            tally.faults.append((id_, fault))
    return tally.verdict(
        empty="no budget was opened",
        fine="the totals follow from the charges, and the chains have no fault",
        method="recompute",
        observed={
            "entries": str(records.evidence["ledger"]["entries"]),
            "accountant": records.root["accountant"],
        },
    )


def _differs(budget: BudgetEvidence, found: Total, records: Records) -> str | None:
    """What is wrong with a budget's recorded total; None where nothing is."""
    try:
        committed = Loss.from_json(budget["committed_charge"])
        reserved = Loss.from_json(budget["reserved_charge"])
    except (DomainError, ValueError, KeyError, TypeError):
        return "its recorded total is not a loss"
    if committed != found.committed:
        return "what it has committed is not the sum of its charges"
    if reserved != found.reserved:
        return "what it holds in reserve is not the sum of its open reservations"
    figures, policy = budget["figures"], records.policies.get(budget["id"])
    if figures is None or budget["kind"] == "window":
        return None
    if policy is None:
        return "its accountant's policy cannot be read"
    amount = policy.consumed(committed + reserved)
    if figures["consumed"]["epsilon"] != amount.epsilon:
        return "the epsilon shown is not what its accountant makes of the total"
    return None


def _own(records: Records) -> str:
    return records.evidence["dataset"]["id"]


def _reads_uncharged(
    spec: Mapping[str, Any],
    inputs: list[dict[str, Any]],
    tables: Mapping[str, Mapping[str, Any]],
    own: str,
) -> str | None:
    """Why a job reads what it is not charged for; None where it does not, "" where unknown."""
    charged = {str(each.get("dataset_id")) for each in inputs}
    for step in spec.get("post_processing") or []:
        if step.get("uses_sensitive_input"):
            return "a step after the noise reads private rows without a charge"
    for join in spec.get("joins") or []:
        other = str(join.get("dataset_id"))
        if other in charged or other == own:
            continue
        if other not in tables:
            return ""
        if tables[other].get("access") != "public":
            return "a private table is joined that the job is not charged for"
    return None


def _number(text: object) -> float | None:
    try:
        return float(parse_decimal(text, ""))
    except DomainError:
        return None
