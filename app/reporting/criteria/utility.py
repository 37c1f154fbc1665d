"""Layer "algorithms, utility, bias": what noise and clipping do to the answers and to whom."""

from typing import Final

from app.reporting.criteria.findings import Tally, Verdict
from app.reporting.criteria.records import Records, job_id
from app.reporting.criteria.registry import criterion
from app.reporting.evidence import JobEvidence

NO_RELEASE: Final = "nothing was released"
SHAPED: Final = ("having", "order_by", "limit", "post_processing")


@criterion("N226-10")
def systemic_bias(records: Records) -> Verdict:
    """Whether errors are shown group by group; which groups matter is for a person to say."""
    said = records.attested("group_effects")
    tally = Tally()
    for job in _released(records):
        if job["kind"] == "train":
            reason = "accuracy is not broken down by group"
        elif not job["spec"].get("group_by"):
            continue
        elif _widths_missing(job):
            reason = "a measure of a grouped query has no error beside each group"
        else:
            tally.fine.append(job_id(job))
            continue
        tally.warned.append((job_id(job), reason))
    found = tally.verdict(
        empty="nothing was released by group",
        fine="every grouped measure has its error beside each group",
    )
    return _with_statement(found, said, "group effects")


@criterion("N226-11")
def human_bias(records: Records) -> Verdict:
    """Hiding, ordering or cutting of released rows, and whether somebody said why."""
    said = records.attested("post_processing_rationale")
    tally = Tally()
    for job in _released(records):
        steps = [key for key in SHAPED if job["spec"].get(key)]
        if steps:
            reason = f"released rows are shaped by {', '.join(steps)}"
            tally.warned.append((job_id(job), reason))
    found = tally.verdict(empty="no released row is hidden, ordered or cut", fine="")
    return _with_statement(found, said, "the reasons for it")


@criterion("N226-12")
def statistical_bias(records: Records) -> Verdict:
    """Clipping and caps pull results one way; a paid profile or a statement says how far."""
    said = records.attested("truncation_bias")
    profiles = [job for job in records.jobs("profile") if job["result"] is not None]
    tally = Tally()
    for job in _released(records):
        if job["kind"] == "profile":
            continue
        reason = "caps, bounds and clipping are on, and no figure says what they cut off"
        if profiles:
            reason = "a paid profile tells what caps and bounds cut off"
        tally.warned.append((job_id(job), reason))
    found = tally.verdict(
        empty="nothing that clips was released",
        fine="",
        observed={"profiles": str(len(profiles))},
    )
    return _with_statement(found, said, "the bias of clipping")


@criterion("N226-F16")
def utility_statement(records: Records) -> Verdict:
    """Released figures come with an error, and none of the errors looks at private rows."""
    said = records.attested("truncation_bias")
    tally = Tally()
    for job in _released(records):
        result = job["result"] or {}
        if job["kind"] == "train":
            has_accuracy = result.get("test_accuracy") is not None
            if has_accuracy and not _is_on_public_rows(job):
                reason = "an accuracy is published that was not taken on a public set"
                tally.faults.append((job_id(job), reason))
            elif not has_accuracy:
                tally.warned.append((job_id(job), "a model was released without an accuracy"))
            else:
                tally.fine.append(job_id(job))
        elif _widths_missing(job):
            tally.warned.append((job_id(job), "a released measure has no half-width"))
        else:
            tally.fine.append(job_id(job))
    found = tally.verdict(empty=NO_RELEASE, fine="every released figure has its error at 95%")
    return _with_statement(found, said, "what truncation adds to these errors")


def _released(records: Records) -> list[JobEvidence]:
    return [job for job in records.jobs("query", "profile", "train") if job["result"] is not None]


def _widths_missing(job: JobEvidence) -> bool:
    """Whether a measure was shown without its half-width; of no shown group none is missing."""
    return any(not each.get("has_half_width") for each in (job["result"] or {}).get("measures", []))


def _is_on_public_rows(job: JobEvidence) -> bool:
    """Whether the set that an accuracy was taken on is on record as public."""
    named = (job["spec"].get("evaluation") or {}).get("dataset_id")
    return job["tables"].get(str(named), {}).get("access") == "public"


def _with_statement(found: Verdict, said: object, about: str) -> Verdict:
    """A checked part with the person's part beside it: never more than attested."""
    if found.state in ("not_applicable", "not_satisfied", "not_evaluated"):
        return found
    if isinstance(said, dict):
        note = f"{said['person_name']} states {about}"
        if found.state == "partly_satisfied":
            note = f"{note}; {found.note}"
        ids = (f"attestation:{said['id']}", *found.evidence)
        return Verdict("attested", note, found.observed, ids, "interview")
    note = found.note or "checked as far as records go"
    note = f"{note}; nobody has stated {about}"
    return Verdict("partly_satisfied", note, found.observed, found.evidence, found.method)
