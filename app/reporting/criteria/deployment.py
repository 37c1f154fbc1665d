"""Layer "deployment": who asks, whom one trusts, what the ledger keeps and who may touch it."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from app.reporting.criteria.findings import Tally, Verdict, sentences
from app.reporting.criteria.records import Records
from app.reporting.criteria.registry import criterion
from app.reporting.evidence import ReservationEvidence

OFFICERS_LEAST: Final = 2
ENDINGS: Final = ("posted", "voided")


@criterion("N226-19")
def interactive_querying(records: Records) -> Verdict:
    """A hard limit, reservations before work, limits of groups of analysts, counted refusals."""
    root = records.root
    if root is None:
        return Verdict("not_applicable", "no lifetime budget was opened, so nobody can ask")
    missing = []
    if root["id"] not in records.policies:
        missing.append("the lifetime budget has no limit that can be read")
    unreserved = [
        reservation
        for reservation in records.evidence["reservations"]
        if not _is_reserved_first(reservation)
    ]
    if unreserved:
        missing.append("work was settled that had not been reserved")
    others = [each for each in records.evidence["budgets"] if each["kind"] == "allocation"]
    rated = [each for each in records.evidence["budgets"] if each["rate_limits"]]
    if not others and not rated:
        missing.append("no analysts have an allocation or a rate limit of their own")
    refusals = records.evidence["refusals"]
    counted = sum(refusals["by_code"].values())
    if counted != refusals["total"] or records.evidence["service"]["audit_events"] <= 0:
        missing.append("refusals are not logged as they were counted")
    observed = {
        "allocations": str(len(others)),
        "rate_limited": str(len(rated)),
        "reservations": str(len(records.evidence["reservations"])),
        "refusals": str(refusals["total"]),
    }
    ids = (
        *(f"reservation:{each['id']}" for each in unreserved),
        f"budget:{root['id']}",
        *(f"budget:{each['id']}" for each in (*others, *rated)),
    )
    if missing:
        return Verdict("not_satisfied", sentences(missing), observed, ids)
    note = "every request was reserved under a hard limit, and refusals are logged"
    return Verdict("satisfied", note, observed, ids)


@criterion("N226-20")
def trust_assumptions(records: Records) -> Verdict:
    """The declared trust model, and a dated list of parties with what each of them sees."""
    model = records.evidence["dataset"]["description"].get("trust_model")
    said, old = records.attested("trust_parties"), records.outdated("trust_parties")
    known = said or old
    parties = [] if known is None else known["facts"].get("parties") or []
    observed = {"trust_model": str(model or "not stated"), "parties": str(len(parties))}
    ids = (records.dataset_id, *(() if known is None else (f"attestation:{known['id']}",)))
    if not model or not parties:
        note = "the trust model or the list of parties is missing"
        return Verdict("not_satisfied", note, observed, ids, "interview")
    if said is None:
        note = "the list of parties no longer counts at this time"
        return Verdict("partly_satisfied", note, observed, ids, "interview")
    note = f"{said['person_name']} states who sees raw and who sees noised data"
    return Verdict("attested", note, observed, ids, "interview")


@criterion("N226-22")
def data_security(records: Records) -> Verdict:
    """How raw rows are stored and carried: the word of whoever runs the store, nothing else."""
    said = records.attested("raw_store_security")
    if said is None:
        note = "nobody states how the raw store is secured, and software cannot see it"
        return Verdict("not_evaluated", note, {}, (), "interview")
    note = f"{said['person_name']} states how the raw store is secured; this was not tested"
    return Verdict("attested", note, {}, (f"attestation:{said['id']}",), "interview")


@criterion("N226-23")
def access_control(records: Records) -> Verdict:
    """The service's own roles, second persons and keys; access to the raw store is attested."""
    service, policy = records.evidence["service"], records.evidence["policy"]
    missing = []
    officers = service["people"].get("compliance_officer", 0)
    if officers < OFFICERS_LEAST:
        missing.append("fewer than two officers, so that nobody can approve")
    if service["officers_can_approve_alone"]:
        missing.append("an officer can approve alone")
    alone = [
        each
        for each in records.evidence["approvals"]
        if each["decided_by"] is not None and each["decided_by"] == each["requested_by"]
    ]
    if alone:
        missing.append("a change was approved by the person who asked for it")
    oldest = service["keys"].get("oldest_days", 0)
    if oldest > policy["key_days_most"]:
        missing.append("a key is older than the organisation allows")
    if service["audit_events"] <= 0:
        missing.append("no access log is kept")
    observed = {
        "officers": str(officers),
        "oldest_key_days": str(oldest),
        "approvals": str(len(records.evidence["approvals"])),
        "audit_events": str(service["audit_events"]),
    }
    ids = (*(f"approval:{each['id']}" for each in alone), "service", "policy")
    if missing:
        return Verdict("not_satisfied", sentences(missing), observed, ids)
    said = records.attested("access_to_raw_store")
    if said is None:
        note = "roles and approvals are in order; nobody states who can reach the raw store"
        return Verdict("partly_satisfied", note, observed, ids)
    note = f"roles and approvals are in order; {said['person_name']} states who can reach raw rows"
    return Verdict("attested", note, observed, (*ids, f"attestation:{said['id']}"))


@criterion("N226-24")
def collection_exposure(records: Records) -> Verdict:
    """Purpose, retention, and columns that nothing has ever used."""
    dataset = records.evidence["dataset"]
    columns = {str(each.get("name")) for each in dataset["document"].get("columns", [])}
    used = {str(records.unit.get("column"))}
    for job in records.evidence["jobs"]:
        used |= _texts(job["spec"])
    idle = sorted(columns - used)
    description = dataset["description"]
    warnings = []
    if not description.get("purpose"):
        warnings.append("no purpose is stated")
    until = description.get("retain_until")
    if until is not None and str(until) < records.evidence["as_of"][:10]:
        warnings.append("the retention date has passed")
    elif until is None:
        warnings.append("no retention date is stated")
    if idle and records.evidence["jobs"]:
        warnings.append(f"columns that nothing has used: {', '.join(idle[:5])}")
    observed = {
        "columns": str(len(columns)),
        "never_used": str(len(idle)),
        "retain_until": str(until or "not stated"),
    }
    ids = (records.dataset_id,)
    if warnings:
        return Verdict("partly_satisfied", sentences(warnings), observed, ids)
    said = records.attested("management_assertion")
    if said is None:
        note = "purpose and retention are stated; whether all of it is needed, nobody has said"
        return Verdict("partly_satisfied", note, observed, ids)
    note = f"purpose and retention are stated; {said['person_name']} answers for the need"
    return Verdict("attested", note, observed, (*ids, f"attestation:{said['id']}"))


@criterion("PRJ-03")
def no_refund_after_access(records: Records) -> Verdict:
    """What was started stays charged, whatever became of the job (L6, R15)."""
    tally = Tally()
    for reservation in records.evidence["reservations"]:
        id_ = f"reservation:{reservation['id']}"
        fault = _refund(reservation, records)
        if fault is None:
            tally.fine.append(id_)
        else:
            tally.faults.append((id_, fault))
    return tally.verdict(
        empty="nothing was reserved", fine="nothing that was started was ever given back"
    )


@criterion("PRJ-06")
def ledger_integrity(records: Records) -> Verdict:
    """No break and no gap: heads, lengths and counts agree, up to a signed checkpoint."""
    ledger = records.evidence["ledger"]
    faults = [
        (f"entry:{each.get('budget')}:{each.get('seq')}", f"broken: {each.get('reason')}")
        for each in ledger["faults"]
    ]
    chains = {each["budget"]: each for each in ledger["chains"]}
    rows = _rows(records)
    for budget in records.evidence["budgets"]:
        if not budget["entries"]:
            continue
        id_, chain = f"budget:{budget['id']}", chains.get(budget["id"])
        if chain is None:
            faults.append((id_, "the checkpoint does not name this chain"))
            continue
        if (chain["entries"], chain["head_hash"]) != (budget["entries"], budget["head_hash"]):
            faults.append((id_, "the chain does not end where the checkpoint says"))
        if sum(budget["by_kind"].values()) != budget["entries"]:
            faults.append((id_, "entries of some kind are missing"))
        faults += _gaps(
            id_, budget["entries"], budget["by_kind"], rows.get(budget["id"], Counter())
        )
    if set(chains) - {each["id"] for each in records.evidence["budgets"]}:
        faults.append((f"checkpoint:{ledger['checkpoint_seq']}", "a chain has no budget"))
    if sum(each["entries"] for each in ledger["chains"]) != ledger["entries"]:
        faults.append((f"checkpoint:{ledger['checkpoint_seq']}", "entries do not add up"))
    observed = {
        "entries": str(ledger["entries"]),
        "chains": str(len(chains)),
        "checkpoint": str(ledger["checkpoint_seq"]),
        "checkpoint_hash": ledger["checkpoint_hash"],
    }
    checkpoint = f"checkpoint:{ledger['checkpoint_seq']}"
    if faults:
        note = sentences(reason for _, reason in faults)
        ids = (*(id_ for id_, _ in faults), checkpoint)
        return Verdict("not_satisfied", note, observed, ids, "recompute")
    if not chains:
        return Verdict("not_applicable", "no chain was begun", observed, (checkpoint,))
    note = "every chain follows from its first entry to the head that the checkpoint signs"
    return Verdict("satisfied", note, observed, (checkpoint,), "recompute")


def _is_reserved_first(reservation: ReservationEvidence) -> bool:
    """Whether in each budget the reservation stands before its resolution, once each."""
    for budget in {row["budget"] for row in reservation["entries"]}:
        rows = [row for row in reservation["entries"] if row["budget"] == budget]
        held = [row["seq"] for row in rows if row["kind"] == "reserved"]
        ended = [row["seq"] for row in rows if row["kind"] in ENDINGS]
        if len(held) != 1 or len(ended) > 1 or (ended and ended[0] <= held[0]):
            return False
    return bool(reservation["entries"])


def _refund(reservation: ReservationEvidence, records: Records) -> str | None:
    started = [part["started_units"] for part in reservation["parts"]]
    was_touched = any(started) or reservation["touched_at"] is not None
    if was_touched and reservation["state"] == "voided":
        return "a reservation was voided after its first access to rows"
    if reservation["state"] != "posted" or records.root is None:
        return None
    posted = [
        row["units"]
        for row in reservation["entries"]
        if row["kind"] == "posted" and row["budget"] == records.root["id"]
    ]
    if not posted:
        return "what was started is not in the lifetime budget"
    in_full = reservation["is_outside"] and not reservation["is_runner"]
    owed = [part["max_units"] for part in reservation["parts"]] if in_full else started
    if len(posted[0]) != len(owed):
        return "other parts were posted than were reserved"
    if any(got < wanted for got, wanted in zip(posted[0], owed, strict=True)):
        return "fewer units were posted than were started"
    return None


def _rows(records: Records) -> dict[str, Counter[Any]]:
    """By budget, the entries that reservations name: of each kind, and of each place."""
    found: dict[str, Counter[Any]] = {}
    for reservation in records.evidence["reservations"]:
        for row in reservation["entries"]:
            counter = found.setdefault(row["budget"], Counter())
            counter[row["kind"]] += 1
            counter["seq", row["seq"]] += 1
    return found


def _gaps(
    id_: str, entries: int, by_kind: Mapping[str, int], rows: Counter[Any]
) -> list[tuple[str, str]]:
    faults = []
    places = [(key[1], count) for key, count in rows.items() if isinstance(key, tuple)]
    if any(count > 1 or not 1 <= seq <= entries for seq, count in places):
        faults.append((id_, "two entries have one place, or one has none"))
    if any(by_kind.get(kind, 0) != rows[kind] for kind in ("reserved", *ENDINGS)):
        faults.append((id_, "an entry belongs to no reservation on record"))
    return faults


def _texts(document: object) -> set[str]:
    """Every text in a document, which names the columns that a spec uses."""
    if isinstance(document, str):
        return {document}
    if isinstance(document, Mapping):
        return set().union(*(_texts(each) for each in document.values()))
    if isinstance(document, list):
        return set().union(*(_texts(each) for each in document))
    return set()
