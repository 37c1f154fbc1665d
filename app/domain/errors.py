"""Every refusal of the service, one class each, with its subjects as fields.

A refusal is decided before anything is read or spent (L5). Its `code` is stable and public; the
edge gives it a status and a title. No field of a refusal may hold a number computed from rows.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar


@dataclass(eq=False)
class DomainError(Exception):
    """A refusal: a class with facts. HTTP is put on at the edge."""

    code: ClassVar[str] = "refused"

    def __str__(self) -> str:
        """The facts as `name=value`, for logs and for test output."""
        facts = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{self.code}({facts})"


def refusal_document(error: DomainError) -> dict[str, Any]:
    """The refusal as a document, {"code", "facts"}: what the edge renders and a key replays (R16).

    A replayed refusal gives the first one's document, so that both are answered alike.
    """
    if isinstance(error, ReplayedRefusal):
        return dict(error.document)
    return {
        "code": error.code,
        "facts": {field.name: getattr(error, field.name) for field in fields(error)},
    }


@dataclass(eq=False)
class InvalidParameter(DomainError):
    """A value in a request is malformed, not finite, out of range or unknown.

    pointer: RFC 6901 JSON pointer to the value, for example `/mechanism/noise_multiplier`.
    reason: one plain sentence; it may name allowed values that are public.
    """

    code: ClassVar[str] = "invalid-parameter"

    pointer: str
    reason: str


@dataclass(eq=False)
class MechanismNotPriced(DomainError):
    """The mechanism has no proven price in this dataset's relation or unit (R6, R7, L8)."""

    code: ClassVar[str] = "mechanism-not-priced"

    mechanism: str
    relation: str
    reason: str


@dataclass(eq=False)
class RefusedByName(DomainError):
    """A form that looks private and is not, refused by its name (R28)."""

    code: ClassVar[str] = "refused-by-name"

    pointer: str
    form: str
    instead: str


@dataclass(eq=False)
class ModelNotAccepted(DomainError):
    """An installed model that no worker has accepted for training; nothing was reserved (R28).

    module: the part of it that is refused; empty where the whole is, or none was examined.
    """

    code: ClassVar[str] = "model-not-accepted"

    model: str
    module: str
    problem: str
    remedy: str


@dataclass(eq=False)
class DeviceUnavailable(DomainError):
    """No worker with this device is configured; nothing was reserved.

    available: the devices that a spec may name here.
    """

    code: ClassVar[str] = "device-unavailable"

    device: str
    available: list[str]


@dataclass(eq=False)
class NotAuthenticated(DomainError):
    """No API key, or one that is unknown, expired or revoked; which of these is not said."""

    code: ClassVar[str] = "not-authenticated"


@dataclass(eq=False)
class NotAllowed(DomainError):
    """The caller is known and may not do this."""

    code: ClassVar[str] = "not-allowed"

    action: str
    needs: str


@dataclass(eq=False)
class NotAllowedAnyMore(DomainError):
    """Work was admitted, and the one who asked for it may no longer charge its budget.

    The grant was withdrawn, or a membership, role or person has ended. Nothing more starts; what
    has started is settled.
    """

    code: ClassVar[str] = "not-allowed-any-more"

    budget_id: str


@dataclass(eq=False)
class NotFound(DomainError):
    """Nothing of that kind has that id, or the caller may not know of it."""

    code: ClassVar[str] = "not-found"

    kind: str
    id: str


@dataclass(eq=False)
class AlreadyExists(DomainError):
    """The name is taken."""

    code: ClassVar[str] = "already-exists"

    kind: str
    name: str


@dataclass(eq=False)
class SourceAlreadyRegistered(DomainError):
    """These rows already have a ledger; a second one would forget the first (L3, R18)."""

    code: ClassVar[str] = "source-already-registered"

    reason: str


@dataclass(eq=False)
class IdempotencyKeyMissing(DomainError):
    """A POST that creates needs an Idempotency-Key (R16)."""

    code: ClassVar[str] = "idempotency-key-missing"


@dataclass(eq=False)
class IdempotencyKeyReused(DomainError):
    """The key was used before with another body (R16)."""

    code: ClassVar[str] = "idempotency-key-reused"

    key: str


@dataclass(eq=False)
class ReplayedRefusal(DomainError):
    """The first answer under this key was a refusal; it is given again, word for word (R16)."""

    code: ClassVar[str] = "replayed-refusal"

    document: dict[str, object]


@dataclass(eq=False)
class VersionMismatch(DomainError):
    """The thing has changed since the caller read it (If-Match)."""

    code: ClassVar[str] = "version-mismatch"

    kind: str
    current: int


@dataclass(eq=False)
class VersionMissing(DomainError):
    """A change needs If-Match with the version that the caller read."""

    code: ClassVar[str] = "version-missing"


@dataclass(eq=False)
class RootExists(DomainError):
    """A dataset has one lifetime root, for ever (R5)."""

    code: ClassVar[str] = "root-exists"

    dataset_id: str


@dataclass(eq=False)
class OwnChange(DomainError):
    """Nobody approves their own change (L10, R19)."""

    code: ClassVar[str] = "own-change"


@dataclass(eq=False)
class NotDelegated(DomainError):
    """Nothing in force lets the caller decide in that person's place (R19)."""

    code: ClassVar[str] = "not-delegated"


@dataclass(eq=False)
class ApprovalNotPending(DomainError):
    """The approval was decided, used or has expired."""

    code: ClassVar[str] = "approval-not-pending"

    state: str


@dataclass(eq=False)
class TooManyPending(DomainError):
    """Too many changes of one requester wait for a second person; nothing was asked.

    most: how many may wait at once, over all budgets and datasets.
    """

    code: ClassVar[str] = "too-many-pending"

    most: int


@dataclass(eq=False)
class ChangeMismatch(DomainError):
    """The decision names another change than the one that is waiting (R19)."""

    code: ClassVar[str] = "change-mismatch"

    change_sha256: str


@dataclass(eq=False)
class BlockNotClosed(DomainError):
    """A block is still open in the version that was named; only closed ones are charged (R8).

    block: the first such block. closed: how many blocks, from 0 on, are closed in that version.
    """

    code: ClassVar[str] = "block-not-closed"

    block: int
    closed: int


@dataclass(eq=False)
class ScopeClosed(DomainError):
    """A scope of the path is not open."""

    code: ClassVar[str] = "scope-closed"

    scope: dict[str, str]
    state: str


@dataclass(eq=False)
class BudgetExceeded(DomainError):
    """The composed loss of a budget's live entries would pass its limit (L1, R4, R12).

    scope: the tightest scope that the caller may read, or {"kind": "an ancestor"}.
    asked, left: amounts of the request and of what remains; left is empty for a hidden scope. Of a
        plan they are units by slot (R10).
    fits: the largest request of this shape that passes on the whole path.
    """

    code: ClassVar[str] = "budget-exceeded"

    scope: dict[str, str]
    asked: dict[str, object]
    left: dict[str, object]
    fits: dict[str, object]


@dataclass(eq=False)
class LeaseLost(DomainError):
    """The fence is stale: somebody else holds this work now."""

    code: ClassVar[str] = "lease-lost"


@dataclass(eq=False)
class AlreadyTouched(DomainError):
    """Touched is spent; a touched reservation cannot be voided (L6)."""

    code: ClassVar[str] = "already-touched"


@dataclass(eq=False)
class NothingStarted(DomainError):
    """A runner commits what it started; with nothing started there is only the void (R15)."""

    code: ClassVar[str] = "nothing-started"


@dataclass(eq=False)
class AlreadyResolved(DomainError):
    """The reservation or job has ended."""

    code: ClassVar[str] = "already-resolved"

    state: str


@dataclass(eq=False)
class ResultNotReady(DomainError):
    """The job has no posted result (L2)."""

    code: ClassVar[str] = "result-not-ready"

    state: str


@dataclass(eq=False)
class ResultPurged(DomainError):
    """What the job released was deleted with its dataset; what it cost stays charged (R20)."""

    code: ClassVar[str] = "result-purged"

    purged_at: str


@dataclass(eq=False)
class PurgeRefused(DomainError):
    """The dataset cannot be purged as it is now."""

    code: ClassVar[str] = "purge-refused"

    reason: str


@dataclass(eq=False)
class FormatNotAvailable(DomainError):
    """The result does not come in any form that was asked for.

    available: the forms in which it does come.
    """

    code: ClassVar[str] = "format-not-available"

    available: list[str]


@dataclass(eq=False)
class BoundsRequired(DomainError):
    """A sum or mean has no public bounds or no public grid, so no noise could cover it (R24)."""

    code: ClassVar[str] = "bounds-required"

    pointer: str
    reason: str


@dataclass(eq=False)
class DeltaRequired(DomainError):
    """Showing keys that are private, or Gaussian noise, needs a delta above 0 (R6)."""

    code: ClassVar[str] = "delta-required"

    pointer: str
    reason: str


@dataclass(eq=False)
class TooManyGroups(DomainError):
    """The product of the public keys has more cells than one answer may hold."""

    code: ClassVar[str] = "too-many-groups"

    pointer: str
    cells: int
    most: int


@dataclass(eq=False)
class RangeTooWide(DomainError):
    """Bounds, grid, caps or noise could leave exact 64-bit integers."""

    code: ClassVar[str] = "range-too-wide"

    pointer: str
    reason: str


@dataclass(eq=False)
class NominalSizeTooSmall(DomainError):
    """The public nominal size is below 200 / epsilon, so that a rank would be noise alone (R27).

    needed: the least nominal size at this epsilon; declared: what the dataset says of itself.
    """

    code: ClassVar[str] = "nominal-size-too-small"

    pointer: str
    needed: int
    declared: int


@dataclass(eq=False)
class SqlNotAccepted(DomainError):
    """The SQL text of a query does not parse, or holds a node that is not on the allow-list.

    line, column: of the first such node, both from 1.
    """

    code: ClassVar[str] = "sql-not-accepted"

    pointer: str
    line: int
    column: int
    reason: str


@dataclass(eq=False)
class LowerRefused(DomainError):
    """What is committed and reserved does not pass at the lower limit (R5); freezing still can.

    least: the least epsilon at which it would pass, rounded up; "Infinity" where none would.
    """

    code: ClassVar[str] = "limit-below-balance"

    least: str


@dataclass(eq=False)
class ThawRefused(DomainError):
    """The balance of a frozen budget does not pass its limit; it is raised before it thaws (L1).

    least: the least epsilon at which it would pass, rounded up; "Infinity" where none would.
    """

    code: ClassVar[str] = "thaw-refused"

    least: str


@dataclass(eq=False)
class RateLimited(DomainError):
    """A budget takes no more of this kind for a while; it costs nothing and says when (L5).

    limit: `jobs_per_hour` or `units_per_day`, and most: its value.
    retry_after_s: when the oldest of what counts now will count no more.
    """

    code: ClassVar[str] = "rate-limited"

    scope: dict[str, str]
    limit: str
    most: int
    retry_after_s: int


@dataclass(eq=False)
class LedgerBehind(DomainError):
    """The database has forgotten something of this root; two people post it before it thaws (R22).

    evidence_sha256: of each discrepancy that is not settled.
    """

    code: ClassVar[str] = "ledger-behind"

    evidence_sha256: list[str]


@dataclass(eq=False)
class KeyFileUnusable(DomainError):
    """The file that webhooks' secrets are derived from cannot be used; the log says why."""

    code: ClassVar[str] = "key-file-unusable"


@dataclass(eq=False)
class ExtraMissing(DomainError):
    """What was asked for needs a library that is not installed here; names its extra."""

    code: ClassVar[str] = "extra-missing"

    extra: str
    library: str


@dataclass(eq=False)
class LedgerNotSigned(DomainError):
    """What would be signed needs the ledger's key, or a checkpoint of it, and there is none (R23).

    reason: which of the two is missing, or why no checkpoint can be made.
    """

    code: ClassVar[str] = "ledger-not-signed"

    reason: str


@dataclass(eq=False)
class NothingOnRecord(DomainError):
    """A checkpoint has no chain of a dataset: no budget of it was open when it was signed."""

    code: ClassVar[str] = "nothing-on-record"

    dataset_id: str
    checkpoint_seq: int


@dataclass(eq=False)
class ReportNotReady(DomainError):
    """The report is not built or not signed yet, or could not be built.

    failure_code: why it could not; None while it is under way.
    """

    code: ClassVar[str] = "report-not-ready"

    state: str
    failure_code: str | None
