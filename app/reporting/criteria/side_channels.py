"""Layer "deployment": number formats, time, errors, randomness and tuning of what really ran."""

from collections.abc import Mapping
from typing import Any, Final

from app.reporting.criteria.findings import Tally, Verdict, worst
from app.reporting.criteria.records import Records, job_id, nodes
from app.reporting.criteria.registry import criterion

# samplers that use no floating-point number on their noise (L7)
EXACT_SAMPLERS: Final = ("opendp/",)
EXACT_KINDS: Final = ("discrete_laplace", "discrete_gaussian", "exponential", "randomized_response")
NOISE_KINDS: Final = (*EXACT_KINDS, "laplace", "gaussian", "tree_aggregation")
SECURE_SOURCES: Final = ("os-csprng",)
SECURE_SAMPLERS: Final = ("opendp/", "os-csprng-", "chacha20-")
SEEDS: Final = ("seed", "random_seed", "noise_seed", "random_state")
AFTER_TOUCH: Final = "failed-after-touch"
STOPS: Final = ("cancelled", "scope-closed", "not-allowed-any-more")
NOTHING_RAN: Final = "nothing was charged"


@criterion("N226-21")
def implementation_side_channels(records: Records) -> Verdict:
    """As good as the worst of number formats, timing and the backend's behaviour."""
    parts = {
        "floating_point": floating_point(records),
        "timing": timing(records),
        "backend": backend(records),
    }
    found = [each.state for each in parts.values() if each.state != "not_applicable"]
    state = worst(found) if found else "not_applicable"
    observed = {name: each.state.replace("_", " ") for name, each in parts.items()}
    note = "; ".join(each.note for each in parts.values() if each.state == state and each.note)
    ids = tuple(id_ for each in parts.values() for id_ in each.evidence if each.state == state)
    return Verdict(state, note, observed, ids)


@criterion("N226-F08")
def tuning(records: Records) -> Verdict:
    """Every trial that looked at private rows is a run with a charge of its own (R28)."""
    tally = Tally()
    for job in records.jobs("train"):
        said = job["spec"].get("tuning") or {}
        source, trials = said.get("source"), said.get("trials", 1)
        posted = _posted_units(records, job["reservation"])
        if source in ("public", "synthetic"):
            tally.fine.append(job_id(job))
        elif trials != 1:
            tally.faults.append((job_id(job), "the best of several runs, with one charge"))
        elif job["result"] is not None and not posted:
            tally.faults.append((job_id(job), "a trial that was finished has no charge"))
        else:
            tally.fine.append(job_id(job))
    return tally.verdict(
        empty="no model was trained",
        fine="every run here has its own charge; what was tried elsewhere is not in this record",
        observed={"trials": str(len(records.jobs("train")))},
    )


@criterion("N226-F09")
def floating_point(records: Records) -> Verdict:
    """Noise by exact discrete samplers; continuous noise on floats is outside the theorem (R25)."""
    tally = Tally()
    for reservation in records.charged:
        id_ = f"reservation:{reservation['id']}"
        if reservation["is_outside"]:
            tally.unseen.append((id_, "an outside tool's noise was not seen"))
            continue
        noises = [
            node
            for part in reservation["parts"]
            if part["started_units"]
            for node in nodes(part["mechanism"])
            if node.get("type") in NOISE_KINDS
        ]
        if not noises:
            tally.unseen.append((id_, "no noise is named in the charge"))
        elif all(_is_exact(node) for node in noises):
            tally.fine.append(id_)
        else:
            said = "continuous noise is drawn in floating point: it is assumed to be ideal"
            tally.faults.append((id_, said))
    return tally.verdict(
        empty=NOTHING_RAN,
        fine="all noise comes from exact discrete samplers",
        observed={
            "query_sampler": records.evidence["service"]["query_sampler"],
            "training_sampler": records.evidence["service"]["training_sampler"],
        },
    )


@criterion("N226-F10")
def timing(records: Records) -> Verdict:
    """Whether anybody can run code of his own or read a time that depends on rows."""
    service = records.evidence["service"]
    runs_code, pads = service["runs_analyst_code"], service["pads_responses"]
    observed = {"runs_analyst_code": _yes(value=runs_code), "pads_responses": _yes(value=pads)}
    if not runs_code and pads:
        return Verdict(
            "satisfied", "no code of analysts runs, and answers are padded", observed, ("service",)
        )
    note = "when a job ends can be seen and may depend on rows"
    if runs_code:
        note = "analysts' code runs beside the rows, and answers are not padded"
    return Verdict("partly_satisfied", note, observed, ("service",))


@criterion("N226-F11")
def backend(records: Records) -> Verdict:
    """Whether an error of the backend reaches anybody; after a touch there is one code (R13)."""
    service = records.evidence["service"]
    observed = {"errors_are_redacted": _yes(value=service["errors_are_redacted"])}
    if not service["errors_are_redacted"]:
        return Verdict(
            "not_satisfied", "raw errors of the backend reach analysts", observed, ("service",)
        )
    telling = [
        job
        for job in records.evidence["jobs"]
        if job["failure_code"] not in (None, AFTER_TOUCH, *STOPS)
        and _started(records, job["reservation"])
    ]
    if telling:
        note = "a job that had begun to read ended with a code that may tell why"
        return Verdict("not_satisfied", note, observed, tuple(job_id(job) for job in telling))
    if service["runs_analyst_code"]:
        note = "analysts' functions run in the backend"
        return Verdict("partly_satisfied", note, observed, ("service",))
    note = "errors are one code and no code of analysts runs; the database itself was not tested"
    return Verdict("partly_satisfied", note, observed, ("service",))


@criterion("PRJ-04")
def randomness(records: Records) -> Verdict:
    """Fresh keys from the operating system, and no seed anywhere in what ran (L7)."""
    service = records.evidence["service"]
    observed = {"key_source": service["key_source"]}
    if not service["key_source"].startswith(SECURE_SOURCES):
        note = "noise is keyed by a source that is not known to be cryptographic"
        return Verdict("not_satisfied", note, observed, ("service",))
    tally = Tally()
    for job in records.evidence["jobs"]:
        if _has_seed(job["spec"]):
            tally.faults.append((job_id(job), "a seed was given"))
    for reservation in records.charged:
        id_ = f"reservation:{reservation['id']}"
        samplers = {
            str(node.get("sampler"))
            for part in reservation["parts"]
            for node in nodes(part["mechanism"])
            if node.get("type") in (*NOISE_KINDS, "poisson_sampled")
        }
        if reservation["is_outside"]:
            tally.unseen.append((id_, "an outside tool's randomness was not seen"))
        elif all(each.startswith(SECURE_SAMPLERS) for each in samplers):
            tally.fine.append(id_)
        else:
            tally.faults.append((id_, "a sampler is named that is not known to be cryptographic"))
    return tally.verdict(
        empty=NOTHING_RAN,
        fine="keys come from the operating system; no seed is set",
        observed=observed,
    )


def _is_exact(node: Mapping[str, Any]) -> bool:
    sampler = str(node.get("sampler"))
    return node.get("type") in EXACT_KINDS and sampler.startswith(EXACT_SAMPLERS)


def _has_seed(document: object) -> bool:
    if isinstance(document, Mapping):
        return any(key in SEEDS or _has_seed(value) for key, value in document.items())
    return isinstance(document, list) and any(_has_seed(each) for each in document)


def _started(records: Records, reservation_id: str) -> bool:
    reservation = records.reservations.get(reservation_id)
    return reservation is not None and any(part["started_units"] for part in reservation["parts"])


def _posted_units(records: Records, reservation_id: str) -> int:
    reservation = records.reservations.get(reservation_id)
    rows = [] if reservation is None else reservation["entries"]
    return sum(sum(row["units"]) for row in rows if row["kind"] == "posted")


def _yes(*, value: bool) -> str:
    return "yes" if value else "no"
