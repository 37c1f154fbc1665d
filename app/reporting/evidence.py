"""What a report rests on: the public records of one dataset, as one canonical JSON document.

A service gathers it, a report carries it whole, and everything else in the report is computed from
it by pure functions: statements, figures, criteria. So whoever holds the report can compute them
again, and whoever holds a bundle of the ledger can compare the ledger's part entry by entry.

Only strings, whole numbers, booleans, null, lists and objects: amounts are decimal strings. Nothing
in it depends on rows but what was released and charged (L2, R13, R17). Times are UTC texts.
Evidence ids: `dataset:ID`, `budget:ID`, `entry:BUDGET:SEQ`, `job:ID`, `reservation:ID`,
`approval:ID`, `attestation:ID`, `checkpoint:SEQ`, `policy`, `service`.
"""

from typing import Any, Final, NotRequired, TypedDict

from app.domain.attestations import AttestationKind

EVIDENCE_VERSION: Final = 1


class Amount(TypedDict):
    """An epsilon at a delta, decimal strings."""

    epsilon: str
    delta: str


class Figures(TypedDict):
    """A budget's amounts as the wire has them: spend rounded up, what is left rounded down."""

    limit: Amount
    consumed: Amount
    committed: Amount
    reserved: Amount
    remaining: dict[str, str]


class DatasetEvidence(TypedDict):
    """The dataset as it was registered, and what its owner says of it.

    document: the registered form: columns, source format, unit_of_privacy, relation, nominal_size,
        blocks; without the path of the source.
    description: purpose, trust_model, raw_viewers, retention and so on, as far as they are set.
    population_sum: what the roots of the population have consumed together, where it is known.
    """

    id: str
    name: str
    state: str
    access: str
    registered_at: str
    versions: int
    population: str | None
    population_datasets: int
    population_sum: NotRequired[Amount | None]
    document: dict[str, Any]
    description: dict[str, Any]


class BudgetEvidence(TypedDict):
    """One scope and its chain at the checkpoint. Of a plan, `figures` is null and `plan` is set.

    head_hash, entries: where the chain stood; `since`, `first_entry_at`, `last_entry_at` are times.
    bound_delta: the delta at which the proven bound holds; of the limit unless said otherwise.
    limit_changes: [{kind, date, from, to}], oldest first (R5).
    openings: [{seq, date, charge, blocks}] spend from before the service.
    by_kind: how many entries of each kind the chain holds.
    publications: [{seq, date, job}] of the results that others may read, where there are any.
    break_glass: {seq, at, by, reason} of the emergency that froze it, while nobody has thawed it.
    committed_charge, reserved_charge: the exact integer sums in the form of an entry's `charge`; of
        the block that holds most in all, where the dataset has blocks.
    """

    id: str
    parent_id: str | None
    name: str
    kind: str
    state: str
    accountant: str
    policy: dict[str, Any]
    figures: Figures | None
    bound_delta: str | None
    plan: dict[str, Any] | None
    window: dict[str, Any] | None
    span: list[str] | None
    rate_limits: dict[str, int]
    reason: str
    entries: int
    head_hash: str
    opened_at: str | None
    first_entry_at: str | None
    last_entry_at: str | None
    limit_changes: list[dict[str, Any]]
    openings: list[dict[str, Any]]
    by_kind: dict[str, int]
    committed_charge: dict[str, Any]
    reserved_charge: dict[str, Any]
    publications: NotRequired[list[dict[str, Any]]]
    break_glass: NotRequired[dict[str, Any]]


class ChargeEvidence(TypedDict):
    """One part of a reservation: what was stated, what was started, at which price.

    mechanism: its versioned JSON form; `stated` where a charge was converted to this unit (R7).
    """

    mechanism: dict[str, Any]
    price: str
    max_units: int
    started_units: int
    stated: NotRequired[dict[str, Any]]


class ReservationEvidence(TypedDict):
    """One admitted piece of work in the scopes of this dataset, ours or an outside tool's.

    entries: [{budget, seq, kind, units, blocks}] of every entry that names it, in the scopes of
        this dataset: `units` one number a part, `blocks` as the entry names them, null where none.
    job: null of work that ran elsewhere; `tool` names it then.
    touched_at: when its first unit was on record as started; null where none was.
    """

    id: str
    state: str
    is_outside: bool
    is_runner: bool
    tool: str | None
    job: str | None
    parts: list[ChargeEvidence]
    entries: list[dict[str, Any]]
    created_at: str
    touched_at: str | None
    resolved_at: str | None
    output_sha256: str | None


class JobEvidence(TypedDict):
    """One job of ours: what was asked and what it released of itself; never a row or a result.

    spec: as it was admitted, in the form of `released.canonical`. inputs: as the job stores them.
    tables: by id, the document of every further dataset that the job reads, joined or to evaluate
        on, in the form of `DatasetEvidence.document`.
    result: what `released.public_facts` keeps of the released document: kind, measures, steps,
        audit, notes; no released value.
    """

    id: str
    kind: str
    state: str
    purpose: str
    reservation: str
    failure_code: str | None
    attempts: int
    lapses_after_touch: int
    spec: dict[str, Any]
    inputs: list[dict[str, Any]]
    tables: dict[str, dict[str, Any]]
    result: dict[str, Any] | None
    created_at: str
    finished_at: str | None


class ApprovalEvidence(TypedDict):
    """A change that took two people (R19); people are ids.

    on_behalf_of: who had handed over the right to decide, where somebody had.
    """

    id: str
    action: str
    budget: str | None
    state: str
    reason: str
    requested_by: str
    requested_at: str
    decided_by: str | None
    decided_at: str | None
    on_behalf_of: NotRequired[str]


class AttestationEvidence(TypedDict):
    """A signed sentence of a named person with an end; it is believed, never checked (L9).

    facts: of its kind, e.g. other_releases: {"releases": [{"title", "date", "is_private",
        "risk_assessment"}]}; harm_scenarios: {"scenarios": [{"text", "is_covered"}]}.
    """

    id: str
    kind: AttestationKind
    statement: str
    facts: dict[str, Any]
    person: str
    person_name: str
    role: str
    made_at: str
    expires_at: str
    revoked_at: str | None
    signature: str
    signed_by: str


class RefusalEvidence(TypedDict):
    """How many requests were refused in the scopes of this dataset, by code."""

    total: int
    by_code: dict[str, int]


class ServiceEvidence(TypedDict):
    """What this service is, wherever a criterion asks for it: versions, samplers, people, keys.

    people: how many hold each role. officers_can_approve_alone: false where two are asked (L10).
    library_digests: of the list of a library's files with their hashes, as model cards have it.
    keys: {"live", "oldest_days"}: how many live API keys, and the age of the oldest in days.
    """

    version: str
    libraries: dict[str, str]
    library_digests: dict[str, str]
    query_sampler: str
    training_sampler: str
    key_source: str
    runs_analyst_code: bool
    errors_are_redacted: bool
    pads_responses: bool
    embedded: bool
    people: dict[str, int]
    officers_can_approve_alone: bool
    keys: dict[str, int]
    audit_events: int


class ReportPolicy(TypedDict):
    """The organisation's own bounds that criteria compare with; defaults stand in the catalogue.

    low_epsilon, ceiling_epsilon: bands of cumulative epsilon. delta_most: above it a delta fails.
    attestation_days_most: older attestations no longer count. key_days_most: of API keys.
    crosscheck_tolerance: relative difference of two upper bounds that is worth a look.
    libraries, library_digests: what may be run, by name; the first version of a list is the one
        that is wanted, the others are still let pass.
    """

    low_epsilon: str
    ceiling_epsilon: str
    delta_most: str
    attestation_days_most: int
    key_days_most: int
    crosscheck_tolerance: str
    libraries: dict[str, list[str]]
    library_digests: dict[str, list[str]]


class LedgerEvidence(TypedDict):
    """The signed checkpoint that the report stands on, and what a replay up to it found.

    chains: [{budget, entries, head_hash}] of every scope of this dataset at the checkpoint.
    faults: [{budget, seq, reason}] of the replay; empty where all follows.
    """

    checkpoint_seq: int
    checkpoint_hash: str
    checkpoint_at: str
    public_key_fingerprint: str
    chains: list[dict[str, Any]]
    entries: int
    faults: list[dict[str, Any]]


class Evidence(TypedDict):
    """All of it. `as_of` is the time of the checkpoint: no clock enters a report.

    prices: by digest, the stored price of every part that is named (app.domain.accounting.prices).
    mapping: by criterion, what the organisation's own file says of it (criteria.catalogue).
    """

    v: int
    as_of: str
    dataset: DatasetEvidence
    budgets: list[BudgetEvidence]
    reservations: list[ReservationEvidence]
    prices: dict[str, dict[str, Any]]
    jobs: list[JobEvidence]
    approvals: list[ApprovalEvidence]
    attestations: list[AttestationEvidence]
    refusals: RefusalEvidence
    service: ServiceEvidence
    policy: ReportPolicy
    mapping: NotRequired[dict[str, dict[str, str]]]
    ledger: LedgerEvidence
