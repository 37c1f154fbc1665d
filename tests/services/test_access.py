"""Who may read and charge what: every role against every kind of scope."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.db.models import Budget, DatasetGrant, DatasetRow, Principal, Project
from app.db.session import transaction
from app.domain.accounting.filters import make_policy
from app.domain.errors import NotAllowed
from app.domain.ledger import GENESIS_HASH
from app.domain.privacy import Limit, Loss
from app.services.access import (
    ROLES,
    Caller,
    budgets_readable,
    may_charge,
    may_read_budget,
    may_read_dataset,
    require_role,
)

Sessions = sessionmaker[Session]
NOW = datetime(2026, 11, 22, tzinfo=UTC)
POLICY = make_policy("pure/1", Limit(Decimal(1), Decimal(0)), Decimal("0.9")).to_json()


def caller(role: str, *projects: UUID) -> Caller:
    return Caller(uuid4(), role, frozenset({role}), "0" * 12, False, frozenset(projects))


class House:
    """Projects `mine` and `theirs`; a granted, an ungranted and a public dataset; budgets."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.owner = uuid4()
        session.add(
            Principal(id=self.owner, name="o", roles=["admin"], active=True, created_at=NOW)
        )
        self.mine, self.theirs = (self.project(name) for name in ("mine", "theirs"))
        session.flush()
        self.granted = self.dataset("granted")
        self.hidden = self.dataset("hidden")
        self.public = self.dataset("public", access="public")
        session.flush()
        session.add(
            DatasetGrant(
                project_id=self.mine,
                dataset_id=self.granted,
                granted_by=self.owner,
                granted_at=NOW,
            )
        )
        session.flush()

    def project(self, name: str) -> UUID:
        row = Project(id=uuid4(), name=name, created_at=NOW)
        self.session.add(row)
        return row.id

    def dataset(self, name: str, access: str = "private") -> UUID:
        row = DatasetRow(
            id=uuid4(),
            name=name,
            access=access,
            state="active",
            relation="add_remove" if access == "private" else None,
            document={},
            description={},
            population=None,
            source_fingerprint=name,
            location_sha256="0" * 64,
            latest_version=1,
            version=1,
            created_by=self.owner,
            created_at=NOW,
        )
        self.session.add(row)
        return row.id

    def budget(self, dataset: UUID, holder: UUID | None) -> Budget:
        return Budget(
            id=uuid4(),
            dataset_id=dataset,
            parent_id=None,
            kind="lifetime",
            name="b",
            state="open",
            version=1,
            policy=POLICY,
            milestones=[],
            holder_project_id=holder,
            reason="r",
            expires_at=None,
            rate_limits={},
            committed=Loss.zero(),
            reserved=Loss.zero(),
            last_seq=0,
            head_hash=GENESIS_HASH,
            last_entry_at=None,
            created_by=self.owner,
            created_at=NOW,
            opened_at=NOW,
        )


def test_only_overseers_read_every_budget_and_only_engineers_charge_any(
    make_session: Sessions,
) -> None:
    with transaction(make_session) as session:
        house = House(session)
        for dataset in (house.granted, house.hidden):
            for holder in (None, house.mine, house.theirs):
                budget = house.budget(dataset, holder)
                for role in ROLES:
                    if role == "ml_engineer":
                        continue
                    who = caller(role, house.mine)
                    reads = role in {"compliance_officer", "auditor"}
                    assert may_read_budget(session, who, budget) == reads, role
                    assert not may_charge(session, who, budget), role


def test_a_list_shows_each_caller_exactly_the_budgets_that_may_be_read_one_by_one(
    make_session: Sessions,
) -> None:
    with transaction(make_session) as session:
        house = House(session)
        budgets = []
        for dataset in (house.granted, house.hidden):
            root = house.budget(dataset, None)
            root.state, root.opened_at = "proposed", None
            for holder in (house.mine, house.theirs, None):
                below = house.budget(dataset, holder)
                below.kind, below.parent_id = "allocation", root.id
                budgets.append(below)
            session.add(root)
            session.flush()
            budgets.append(root)
        session.add_all(budgets)
        session.flush()
        callers = [caller(role, house.mine) for role in ROLES]
        callers += [caller("ml_engineer"), caller("ml_engineer", house.mine, house.theirs)]
        for who in callers:
            listed = set(session.scalars(select(Budget).where(budgets_readable(who))))
            one_by_one = {each for each in budgets if may_read_budget(session, who, each)}
            assert listed == one_by_one, who.name


@pytest.mark.parametrize(
    ("dataset", "holder", "reads", "charges"),
    [
        ("granted", None, True, True),
        ("granted", "mine", True, True),
        ("granted", "theirs", False, False),
        ("hidden", None, False, False),
        ("hidden", "mine", True, False),
        ("hidden", "theirs", False, False),
    ],
)
def test_an_engineer_reads_what_his_projects_hold_and_charges_only_granted_rows(
    make_session: Sessions, dataset: str, holder: str | None, reads: bool, charges: bool
) -> None:
    with transaction(make_session) as session:
        house = House(session)
        budget = house.budget(
            getattr(house, dataset), None if holder is None else getattr(house, holder)
        )
        engineer = caller("ml_engineer", house.mine)
        assert may_read_budget(session, engineer, budget) == reads
        assert may_charge(session, engineer, budget) == charges
        loner = caller("ml_engineer")
        assert not may_read_budget(session, loner, budget)
        assert not may_charge(session, loner, budget)


def test_an_engineer_knows_granted_and_public_datasets_and_no_other(
    make_session: Sessions,
) -> None:
    with transaction(make_session) as session:
        house = House(session)
        engineer = caller("ml_engineer", house.mine)
        known = [house.granted, house.hidden, house.public]
        assert [may_read_dataset(session, engineer, id_) for id_ in known] == [True, False, True]
        assert not may_read_dataset(session, engineer, uuid4())
        for role in ("admin", "worker"):
            assert not any(may_read_dataset(session, caller(role), id_) for id_ in known)
        for role in ("compliance_officer", "auditor"):
            assert all(may_read_dataset(session, caller(role), id_) for id_ in known)


def test_a_missing_role_is_named_in_the_refusal() -> None:
    with pytest.raises(NotAllowed) as refused:
        require_role(caller("auditor"), "admin", "compliance_officer", action="do it")
    assert refused.value.needs == "admin or compliance_officer"
