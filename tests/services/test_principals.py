"""Keys, people and projects as use cases, where the edge does not look."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from app.db.models import ApiKey, Principal
from app.db.session import snapshot
from app.domain.errors import (
    AlreadyExists,
    InvalidParameter,
    NotAllowed,
    NotAuthenticated,
    NotFound,
)
from app.services.access import Caller
from app.services.api_keys import KEY_PATTERN, ApiKeys, KeyRequest, authenticate, new_key
from app.services.idempotency import Keyed
from app.services.principals import PersonRequest, Principals, bootstrap_admin
from app.services.projects import Projects

Sessions = sessionmaker[Session]


@pytest.fixture
def admin(make_session: Sessions) -> Caller:
    key = bootstrap_admin(make_session)
    assert key is not None
    return Principals(make_session).authenticate(key)


def keyed(caller: Caller) -> Keyed:
    return Keyed(caller.principal_id, "POST /v1/test", uuid4().hex, "0" * 64)


def person(make_session: Sessions, admin: Caller, name: str, *roles: str) -> Caller:
    people, keys = Principals(make_session), ApiKeys(make_session)
    made = people.create(admin, PersonRequest(name, roles), keyed(admin))
    key = keys.create(admin, KeyRequest(UUID(made["id"])), keyed(admin))
    return people.authenticate(key["key"])


def test_the_first_admin_is_made_once_however_many_processes_start(
    make_session: Sessions,
) -> None:
    start = Barrier(4)

    def boot(_: int) -> str | None:
        start.wait(10)
        return bootstrap_admin(make_session)

    with ThreadPoolExecutor(4) as pool:
        keys = [key for key in pool.map(boot, range(4)) if key is not None]
    assert len(keys) == 1
    assert Principals(make_session).authenticate(keys[0]).roles == {"admin"}
    assert bootstrap_admin(make_session) is None
    with snapshot(make_session) as session:
        assert session.scalar(select(func.count()).select_from(Principal)) == 1


def test_a_key_has_256_bits_and_no_two_are_equal() -> None:
    keys = [new_key() for _ in range(200)]
    assert len({key.text for key in keys}) == len({key.id for key in keys}) == 200
    for key in keys:
        match = KEY_PATTERN.fullmatch(key.text)
        assert match is not None
        assert len(match.group(2)) * 6 >= 256
        assert key.text not in repr(key.secret_sha256)


def test_a_key_is_good_until_the_very_moment_that_it_expires(
    make_session: Sessions, admin: Caller
) -> None:
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    keys = ApiKeys(make_session)
    made = keys.create(admin, KeyRequest(admin.principal_id, expires_at=expires_at), keyed(admin))
    with snapshot(make_session) as session:
        just_before = expires_at - timedelta(microseconds=1)
        assert authenticate(session, made["key"], just_before).principal_id == admin.principal_id
        with pytest.raises(NotAuthenticated):
            authenticate(session, made["key"], expires_at)


def test_a_key_of_the_past_or_of_nobody_or_of_a_runner_who_may_not_charge_is_not_made(
    make_session: Sessions, admin: Caller
) -> None:
    keys = ApiKeys(make_session)
    past = datetime.now(UTC) - timedelta(seconds=1)
    for request, refusal in (
        (KeyRequest(admin.principal_id, expires_at=past), InvalidParameter),
        (KeyRequest(uuid4()), NotFound),
        (KeyRequest(admin.principal_id, is_runner=True), InvalidParameter),
    ):
        with pytest.raises(refusal):
            keys.create(admin, request, keyed(admin))
    with snapshot(make_session) as session:
        assert session.scalar(select(func.count()).select_from(ApiKey)) == 1


def test_two_people_never_share_a_name(make_session: Sessions, admin: Caller) -> None:
    people = Principals(make_session)
    people.create(admin, PersonRequest("ada", ("ml_engineer",)), keyed(admin))
    with pytest.raises(AlreadyExists):
        people.create(admin, PersonRequest("ada", ("auditor",)), keyed(admin))


@pytest.mark.parametrize(
    "roles", [(), ("king",), ("admin", "ml_engineer"), ("auditor", "compliance_officer")]
)
def test_no_one_holds_no_role_an_unknown_one_or_two_that_oversee_each_other(
    make_session: Sessions, admin: Caller, roles: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidParameter):
        Principals(make_session).create(admin, PersonRequest("ada", roles), keyed(admin))


def test_nobody_but_an_admin_makes_people_keys_or_projects(
    make_session: Sessions, admin: Caller
) -> None:
    officer = person(make_session, admin, "olga", "compliance_officer")
    people, keys, projects = (
        Principals(make_session),
        ApiKeys(make_session),
        Projects(make_session),
    )
    with pytest.raises(NotAllowed):
        people.create(officer, PersonRequest("puppet", ("compliance_officer",)), keyed(officer))
    with pytest.raises(NotAllowed):
        keys.create(officer, KeyRequest(admin.principal_id), keyed(officer))
    with pytest.raises(NotAllowed):
        projects.create(officer, "team", keyed(officer))


def test_a_member_sees_his_project_from_his_next_request_on_and_no_other(
    make_session: Sessions, admin: Caller
) -> None:
    projects, people = Projects(make_session), Principals(make_session)
    engineer = person(make_session, admin, "emil", "ml_engineer")
    mine, other = (projects.create(admin, name, keyed(admin)) for name in ("mine", "other"))
    assert projects.list(engineer) == []
    for _ in range(2):
        document = projects.add_member(admin, UUID(mine["id"]), engineer.principal_id)
        assert document["member_ids"] == [str(engineer.principal_id)]
    key = ApiKeys(make_session).create(admin, KeyRequest(engineer.principal_id), keyed(admin))
    again = people.authenticate(key["key"])
    assert [item["name"] for item in projects.list(again)] == ["mine"]
    assert other["member_ids"] == []
    assert (
        projects.remove_member(admin, UUID(mine["id"]), engineer.principal_id)["member_ids"] == []
    )
    assert people.authenticate(key["key"]).project_ids == frozenset()
