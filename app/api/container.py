"""The use cases of one process, made once at start-up and handed to the routes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from fastapi import Depends, Request

from app.db.session import SessionMaker
from app.domain.training.offer import Offer
from app.services.admission import Admissions
from app.services.approvals import Approvals
from app.services.audit import AuditEvents
from app.services.budgets import Budgets
from app.services.changes import Changes
from app.services.connections import Connections
from app.services.datasets import Datasets
from app.services.discrepancies import Discrepancies
from app.services.export import Exports
from app.services.jobs import Jobs
from app.services.models import Installed, Models
from app.services.notifications import Notifications
from app.services.opening import Openings
from app.services.populations import Populations
from app.services.principals import ApiKeys, Principals
from app.services.projects import Projects
from app.services.reservations import Reservations
from app.services.witness import WitnessJournal
from app.services.writer import AdmissionWriter


@dataclass(frozen=True, slots=True)
class Services:
    """Every use case behind the API."""

    make_session: SessionMaker
    writer: AdmissionWriter
    admissions: Admissions
    api_keys: ApiKeys
    approvals: Approvals
    audit_events: AuditEvents
    budgets: Budgets
    changes: Changes
    connections: Connections
    datasets: Datasets
    discrepancies: Discrepancies
    exports: Exports
    jobs: Jobs
    models: Models
    notifications: Notifications
    openings: Openings
    populations: Populations
    principals: Principals
    projects: Projects
    reservations: Reservations

    @classmethod
    def over(
        cls,
        make_session: SessionMaker,
        home: Path,
        journal: WitnessJournal,
        *,
        pending_most: int,
        batch_most: int,
        installed: Installed | None = None,
        has_gpu: bool = False,
    ) -> Self:
        """All of them over one database; the writer is not started yet.

        journal: what outside starts are told to.
        pending_most: how many changes of one person may wait for a second one at once.
        batch_most: how many admissions one transaction decides.
        installed: the models of packages, if any.
        has_gpu: whether a worker with a GPU is configured.
        """
        installed = installed or Installed()
        offer = Offer(installed.models, frozenset({"cpu", "gpu"} if has_gpu else {"cpu"}))
        writer = AdmissionWriter(make_session, batch_most=batch_most)
        return cls(
            make_session=make_session,
            writer=writer,
            admissions=Admissions(make_session, writer, offer=offer),
            api_keys=ApiKeys(make_session),
            approvals=Approvals(make_session),
            audit_events=AuditEvents(make_session),
            budgets=Budgets(make_session, pending_most),
            changes=Changes(make_session, pending_most),
            connections=Connections(make_session),
            datasets=Datasets(make_session, pending_most),
            discrepancies=Discrepancies(make_session, pending_most),
            exports=Exports(make_session),
            jobs=Jobs(make_session, home),
            models=Models(make_session, installed),
            notifications=Notifications(make_session),
            openings=Openings(make_session, pending_most),
            populations=Populations(make_session),
            principals=Principals(make_session),
            projects=Projects(make_session),
            reservations=Reservations(make_session, journal),
        )


async def services_of(request: Request) -> Services:
    """The use cases of the process that answers; async, or each look would take a thread."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(services_of)]
