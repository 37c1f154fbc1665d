"""Layer "algorithms, utility, bias": what trains on private rows, and as what it was charged."""

from collections.abc import Mapping
from typing import Any, Final

from app.domain.training.spec import DRAW_SAMPLER
from app.reporting.criteria.findings import Tally, Verdict
from app.reporting.criteria.records import Records, exact, job_id, nodes
from app.reporting.criteria.registry import criterion
from app.reporting.evidence import JobEvidence

NO_TRAINING: Final = "no model was trained"
PRIVATE_ALGORITHMS: Final = ("dp_sgd", "dp_zo")
CLIPS_EACH_UNIT: Final = ("flat", "per_layer", "stream")
SYNTHESIZERS: Final = ("synthetic", "synthesize")
DEEP: Final = ("gan", "vae", "diffusion", "transformer")
SMALL_TABLE_COLUMNS: Final = 64
UNSTRUCTURED_MODELS: Final = ("transformer_lm", "cnn")
MICROBATCHES: Final = ("microbatch", "microbatches", "num_microbatches", "microbatch_size")


@criterion("N226-15")
def private_training(records: Records) -> Verdict:
    """Each model came from an algorithm that clips and adds noise, under a charge."""
    tally = Tally()
    for job in records.jobs("train"):
        fault = _training_fault(job, records)
        if fault is None:
            tally.fine.append(job_id(job))
        else:
            tally.faults.append((job_id(job), fault))
    return tally.verdict(
        empty=NO_TRAINING, fine="every run clips each unit, adds noise and has a charge"
    )


@criterion("N226-16")
def private_synthesis(records: Records) -> Verdict:
    """Synthetic rows came from a mechanism with a charge."""
    tally = Tally()
    for job in records.jobs(*SYNTHESIZERS):
        parts = records.parts_of(job)
        if not parts:
            tally.faults.append((job_id(job), "synthetic rows were made without a mechanism"))
        elif not _is_charged(job, records):
            tally.faults.append((job_id(job), "synthetic rows were made without a charge"))
        else:
            tally.fine.append(job_id(job))
    return tally.verdict(
        empty="no job of this service makes synthetic rows",
        fine="every synthesis ran a charged mechanism",
    )


@criterion("N226-17")
def deep_generators(records: Records) -> Verdict:
    """A deep generator on a small table wants a comparison of its utility."""
    tally = Tally()
    columns = records.evidence["dataset"]["document"].get("columns", [])
    for job in records.jobs(*SYNTHESIZERS):
        family = str((job["spec"].get("synthesizer") or {}).get("family"))
        is_small = len(columns) <= SMALL_TABLE_COLUMNS
        if family in DEEP and is_small and not (job["result"] or {}).get("utility"):
            said = "a deep generator was used on a small table without a utility comparison"
            tally.warned.append((job_id(job), said))
        else:
            tally.fine.append(job_id(job))
    return tally.verdict(
        empty="no job of this service makes synthetic rows", fine="no deep generator by itself"
    )


@criterion("N226-18")
def unstructured_data(records: Records) -> Verdict:
    """Texts, images and sounds: whose they are is for a person to say."""
    columns = records.evidence["dataset"]["document"].get("columns", [])
    shaped = [str(each.get("name")) for each in columns if each.get("shape")]
    models = [
        job_id(job)
        for job in records.jobs("train")
        if (job["spec"].get("model") or {}).get("name") in UNSTRUCTURED_MODELS
    ]
    observed = {"array_columns": str(len(shaped)), "runs_on_texts_or_images": str(len(models))}
    ids = (records.dataset_id, *models)
    if not shaped and not models:
        note = "every column is a plain value, and no model reads texts or images"
        return Verdict("not_applicable", note, observed, ids)
    said = records.attested("unit_rationale")
    if said is None:
        note = "unstructured data without a stated reason for its unit"
        return Verdict("not_satisfied", note, observed, ids, "interview")
    note = f"{said['person_name']} gives the reason for the unit; whose a piece is stays unsure"
    ids = (*ids, f"attestation:{said['id']}")
    return Verdict("partly_satisfied", note, observed, ids, "interview")


@criterion("PRJ-01")
def sampler_matches(records: Records) -> Verdict:
    """The sampler that ran is the one that the price assumes."""
    tally = Tally()
    for job in records.jobs("train"):
        fault = _sampling_fault(job, records)
        if fault is None:
            tally.fine.append(job_id(job))
        else:
            tally.faults.append((job_id(job), fault))
    for reservation in records.outside:
        for part in reservation["parts"]:
            kinds = {node.get("type") for node in nodes(part["mechanism"])}
            if "poisson_sampled" in kinds:
                id_ = f"reservation:{reservation['id']}"
                tally.unseen.append((id_, "an outside tool's sampler was stated and not seen"))
    return tally.verdict(
        empty="nothing was charged as sampled",
        fine="records were drawn one by one, as Poisson prices assume",
        observed={"sampler": DRAW_SAMPLER},
    )


@criterion("PRJ-07")
def microbatches(records: Records) -> Verdict:
    """What is clipped is one unit's gradient, never a batch's average."""
    tally = Tally()
    for job in records.jobs("train"):
        clip = job["spec"].get("clip") or {}
        said = {key: value for where in (job["spec"], clip) for key, value in where.items()}
        grouped = [said[key] for key in MICROBATCHES if key in said]
        batch = said.get("batch_size", said.get("physical_batch_max"))
        if any(value != batch for value in grouped):
            tally.faults.append((job_id(job), "groups of records were clipped as if one record"))
        elif clip.get("mode") not in CLIPS_EACH_UNIT:
            tally.faults.append((job_id(job), "how a unit's gradient is clipped is not on record"))
        else:
            tally.fine.append(job_id(job))
    return tally.verdict(empty=NO_TRAINING, fine="each unit's gradient is clipped by itself")


def _training_fault(job: JobEvidence, records: Records) -> str | None:
    spec, parts = job["spec"], records.parts_of(job)
    if spec.get("algorithm") not in PRIVATE_ALGORITHMS:
        return "the algorithm clips nothing and adds no noise"
    clip, noise = spec.get("clip") or {}, exact((spec.get("noise") or {}).get("noise_multiplier"))
    if not ({"norm_l2", "profile"} & set(clip)):
        return "no bound on a unit's gradient is on record"
    if noise is None or noise <= 0:
        return "no noise is on record"
    steps = [part for part in parts if _noise_of(part["mechanism"]) is not None]
    if not steps:
        return "no Gaussian mechanism was charged for the run"
    if any((_noise_of(part["mechanism"]) or 0) > noise for part in steps):
        return "the charge assumes more noise than the run asked for"
    if not _is_charged(job, records):
        return "the run has no charge in the ledger"
    return None


def _sampling_fault(job: JobEvidence, records: Records) -> str | None:
    sampling = job["spec"].get("sampling") or {}
    if sampling.get("kind") != "poisson":
        return "batches were not drawn record by record"
    rate = exact(sampling.get("rate"))
    sampled = [
        node
        for part in records.parts_of(job)
        for node in nodes(part["mechanism"])
        if node.get("type") == "poisson_sampled"
    ]
    if not sampled:
        return "the charge does not assume the sampler that ran"
    for node in sampled:
        if node.get("sampler") != DRAW_SAMPLER:
            return "the charge names another sampler than the one that runs here"
        charged = exact(node.get("rate"))
        if rate is None or charged is None or charged < rate:
            return "the charge assumes a lower rate than the one that ran"
    return None


def _is_charged(job: JobEvidence, records: Records) -> bool:
    """Whether the started units of a job stand in the ledger: posted, or still held."""
    reservation = records.reservations.get(job["reservation"])
    if reservation is None or not reservation["entries"]:
        return False
    kinds = {row["kind"] for row in reservation["entries"]}
    if job["result"] is not None:
        posted = [row for row in reservation["entries"] if row["kind"] == "posted"]
        return any(any(row["units"]) for row in posted)
    return bool(kinds & {"reserved", "posted"})


def _noise_of(mechanism: Mapping[str, Any]) -> Any:
    """The least noise multiplier of the Gaussians that a mechanism is made of, or None."""
    found = [
        value
        for node in nodes(mechanism)
        if node.get("type") == "gaussian"
        and (value := exact(node.get("noise_multiplier"))) is not None
    ]
    return min(found, default=None)
