"""The use cases of one process, made once at start-up and handed to the routes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from fastapi import Depends, Request

from app.db.session import SessionMaker
from app.domain.training.offer import Offer
from app.services.admission import Admissions
from app.services.api_keys import ApiKeys
from app.services.approvals import Approvals
from app.services.attestations import Attestations
from app.services.audit import AuditEvents
from app.services.break_glass import BreakGlass
from app.services.budgets import Budgets
from app.services.changes import Changes
from app.services.checkpoints import Checkpoints
from app.services.comments import Comments
from app.services.connections import Connections
from app.services.datasets import Datasets
from app.services.delegations import Delegations
from app.services.discrepancies import Discrepancies
from app.services.entries import Entries
from app.services.export import Exports
from app.services.identities import Identities
from app.services.identity_provider import IdentityProvider
from app.services.jobs import Jobs
from app.services.leavers import Leavers
from app.services.local_accounts import LocalAccounts
from app.services.loopback import LoopbackKeys
from app.services.mail_addresses import MailAddresses
from app.services.models import Installed, Models
from app.services.notifications import Notifications
from app.services.opening import Openings
from app.services.populations import Populations
from app.services.principals import Principals
from app.services.projects import Projects
from app.services.publications import Publications
from app.services.purging import Purging
from app.services.reports import Reports
from app.services.reservations import Reservations
from app.services.sessions import Sessions, Way
from app.services.webhooks import Webhooks
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
    attestations: Attestations
    audit_events: AuditEvents
    break_glass: BreakGlass
    budgets: Budgets
    changes: Changes
    comments: Comments
    connections: Connections
    datasets: Datasets
    delegations: Delegations
    discrepancies: Discrepancies
    entries: Entries
    exports: Exports
    identities: Identities
    jobs: Jobs
    leavers: Leavers
    local_accounts: LocalAccounts
    loopback_keys: LoopbackKeys
    mail_addresses: MailAddresses
    models: Models
    notifications: Notifications
    openings: Openings
    populations: Populations
    principals: Principals
    projects: Projects
    reports: Reports
    publications: Publications
    purging: Purging
    reservations: Reservations
    sessions: Sessions
    webhooks: Webhooks
    # where browsers reach the service; what a request says of it where empty
    public_origin: str = ""
    # what a scrape shows; None where there is nothing to scrape
    metrics_token_file: Path | None = None

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
        public_origin: str = "",
        provider: IdentityProvider | None = None,
        checkpoints: Checkpoints | None = None,
        webhook_key_file: Path,
        webhook_networks: tuple[str, ...] = (),
        metrics_token_file: Path | None = None,
    ) -> Self:
        """All of them over one database; the writer is not started yet.

        journal: what outside starts are told to.
        pending_most: how many changes of one person may wait for a second one at once.
        batch_most: how many admissions one transaction decides.
        installed: the models of packages, if any.
        has_gpu: whether a worker with a GPU is configured.
        public_origin: where browsers reach the service; what a request says of it where empty.
        provider: by whom people sign in; by passwords of this house where None.
        checkpoints: with the key that signs; None where this process has none.
        webhook_key_file, webhook_networks: as `Webhooks` has them.
        metrics_token_file: what a scrape shows; None where there is nothing to scrape.
        """
        ways: frozenset[Way] = frozenset({"password" if provider is None else "oidc"})
        installed = installed or Installed()
        offer = Offer(installed.models, frozenset({"cpu", "gpu"} if has_gpu else {"cpu"}))
        writer = AdmissionWriter(make_session, batch_most=batch_most)
        return cls(
            make_session=make_session,
            writer=writer,
            admissions=Admissions(make_session, writer, offer=offer),
            api_keys=ApiKeys(make_session),
            approvals=Approvals(make_session),
            attestations=Attestations(make_session, checkpoints),
            audit_events=AuditEvents(make_session),
            break_glass=BreakGlass(make_session),
            budgets=Budgets(make_session, pending_most),
            changes=Changes(make_session, pending_most),
            comments=Comments(make_session),
            connections=Connections(make_session),
            datasets=Datasets(make_session, pending_most),
            delegations=Delegations(make_session),
            discrepancies=Discrepancies(make_session, pending_most),
            entries=Entries(make_session),
            exports=Exports(make_session),
            identities=Identities(make_session, provider),
            jobs=Jobs(make_session, home),
            leavers=Leavers(make_session),
            local_accounts=LocalAccounts(make_session, is_on="password" in ways),
            loopback_keys=LoopbackKeys(make_session),
            mail_addresses=MailAddresses(make_session),
            models=Models(make_session, installed),
            notifications=Notifications(make_session),
            openings=Openings(make_session, pending_most),
            populations=Populations(make_session),
            principals=Principals(make_session),
            projects=Projects(make_session),
            reports=Reports(make_session, checkpoints),
            publications=Publications(make_session),
            purging=Purging(make_session, home),
            reservations=Reservations(make_session, journal),
            sessions=Sessions(make_session, ways),
            webhooks=Webhooks(make_session, webhook_key_file, webhook_networks),
            public_origin=public_origin,
            metrics_token_file=metrics_token_file,
        )


async def services_of(request: Request) -> Services:
    """The use cases of the process that answers; async, or each look would take a thread."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(services_of)]
