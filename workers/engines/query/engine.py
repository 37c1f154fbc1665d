"""Runs query jobs: start all units, bound the rows to exact integers, add noise, release (L2)."""

import shutil
from dataclasses import dataclass

from app.domain.errors import DomainError
from app.domain.queries import QueryPlan, parse_query, plan_query
from app.domain.queries.joins import joined
from workers.engines.api import EngineRefused, JobLedger, Outcome, Work
from workers.engines.files import check_input
from workers.engines.query.release import Samplers, build_samplers, release
from workers.engines.query.table import (
    Prepared,
    bounded_table,
    other_datasets,
    other_inputs,
    prepare_table,
)


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """A query that was checked, planned, written and given its samplers, without a private row.

    prepared: the bounding queries; written here, so that no part of a touched job is spent on
    their text.
    """

    work: Work
    plan: QueryPlan
    prepared: Prepared
    samplers: Samplers
    threads: int
    memory_limit: str

    def run(self, ledger: JobLedger) -> Outcome:
        """Start all parts, then open the file; what is released has noise on every number.

        Raises:
            ClaimLost, JobCancelled: from the ledger, before the file is opened.
            RowsUnreadable: after the start; says nothing about the rows.
        """
        for part in range(len(self.plan.parts)):
            ledger.start(part, 1)
        try:
            table = bounded_table(
                self.work,
                self.plan,
                self.prepared,
                threads=self.threads,
                memory_limit=self.memory_limit,
            )
        finally:
            shutil.rmtree(self.work.scratch / "spill", ignore_errors=True)
        dataset = self.work.inputs[0].dataset
        dataset = joined(dataset, self.plan.spec.joins, other_datasets(self.work))
        return Outcome(release(self.plan, dataset, table, self.samplers))


@dataclass(frozen=True, slots=True)
class QueryEngine:
    """The engine of `query` jobs, on a database inside the worker.

    threads, memory_limit: what one job may use; what does not fit goes to the job's scratch.
    """

    threads: int = 2
    memory_limit: str = "2GB"

    def prepare(self, work: Work) -> PreparedQuery:
        """Plan the stored spec again and hold it against what was reserved; opens no private file.

        Raises:
            SourceUnavailable: the store does not show an object of the job to this worker, or a
                public table is not the declared one.
            EngineRefused: the job is not a query over one dataset, its spec does not parse, what
                is reserved is not what the plan costs, or a sampler does not meet its charge.
        """
        if work.kind != "query" or not work.inputs:
            raise EngineRefused("a query runs over a dataset")
        source = work.inputs[0]
        try:
            others = other_datasets(work)
            spec = parse_query(work.spec, source.dataset, others=others)
            plan = plan_query(spec, source.dataset, others=others)
        except DomainError as refusal:
            raise EngineRefused(f"the stored spec is refused: {refusal.code}") from refusal
        return self.prepared(work, plan)

    def prepared(self, work: Work, plan: QueryPlan) -> PreparedQuery:
        """A plan held against what was reserved, with its statements and its samplers.

        Raises:
            EngineRefused, SourceUnavailable: as `prepare`.
        """
        for each in (work.inputs[0], *other_inputs(work).values()):
            check_input(each)
        reserved = tuple(part.mechanism for part in work.parts)
        if reserved != tuple(part.mechanism for part in plan.parts):
            raise EngineRefused("the reserved parts are not those of the plan")
        return PreparedQuery(
            work=work,
            plan=plan,
            prepared=prepare_table(plan, work, memory_limit=self.memory_limit),
            samplers=build_samplers(plan),
            threads=self.threads,
            memory_limit=self.memory_limit,
        )
