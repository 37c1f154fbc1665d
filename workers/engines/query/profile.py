"""Runs profile jobs on the engine of queries: the same start, bounding, noise and release (L2)."""

from dataclasses import dataclass, field

from app.domain.errors import DomainError
from app.domain.profiles import ProfilePlan, parse_profile, plan_profile, profile_json
from workers.engines.api import EngineRefused, JobLedger, Outcome, Work
from workers.engines.query.engine import PreparedQuery, QueryEngine


@dataclass(frozen=True, slots=True)
class PreparedProfile:
    """A profile that was checked, planned and given its samplers, without a private row."""

    plan: ProfilePlan
    query: PreparedQuery

    def run(self, ledger: JobLedger) -> Outcome:
        """Run the query of the profile; what comes out is one row of noisy cells.

        Raises:
            ClaimLost, JobCancelled, RowsUnreadable: as for a query.
        """
        released = self.query.run(ledger).result
        (row,) = released["rows"]
        return Outcome({**profile_json(self.plan, row["cells"]), "notes": released["notes"]})


@dataclass(frozen=True, slots=True)
class ProfileEngine:
    """The engine of `profile` jobs."""

    engine: QueryEngine = field(default_factory=QueryEngine)

    def prepare(self, work: Work) -> PreparedProfile:
        """Plan the stored spec again and hold it against what was reserved; opens no file.

        Raises:
            EngineRefused: the job is no profile of one dataset, its spec does not parse, or what
                is reserved is not what the plan costs.
        """
        if work.kind != "profile" or len(work.inputs) != 1:
            raise EngineRefused("a profile is of one dataset")
        dataset = work.inputs[0].dataset
        try:
            plan = plan_profile(parse_profile(work.spec, dataset), dataset)
        except DomainError as refusal:
            raise EngineRefused(f"the stored spec is refused: {refusal.code}") from refusal
        return PreparedProfile(plan, self.engine.prepared(work, plan.query))
