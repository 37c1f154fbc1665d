"""No path lowers a lifetime loss: names, sources, people and states are tried one by one (L3)."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.db.models import AuditEvent, Budget, DatasetRow, ProjectMember
from app.db.session import snapshot, transaction
from app.domain.errors import (
    AlreadyExists,
    AlreadyResolved,
    BudgetExceeded,
    InvalidParameter,
    NotAllowed,
    NotFound,
    OwnChange,
    RootExists,
    ScopeClosed,
    SourceAlreadyRegistered,
    VersionMismatch,
)
from app.services.access import Caller
from app.services.closing import VersionFacts
from app.services.datasets import Datasets
from app.services.public_tables import look_up_public
from app.services.registrations import DatasetRequest
from tests.world import World, keyed

PURE = {"type": "pure", "epsilon": "0.1"}
COLUMNS = ({"name": "value", "type": "int64"},)


def register(
    world: World,
    name: str,
    file: str,
    *,
    columns: Any = COLUMNS,
    who: str = "officer",
    access: str = "private",
    continues: UUID | None = None,
    is_whole_lines: bool = True,
    **changes: Any,
) -> dict[str, Any]:
    """A registration over a file of the world's folder, made where there is none."""
    path = world.home / "data" / file
    if not path.exists():
        path.write_text("value\n4\n5\n")
    protected = {
        "unit_of_privacy": {"kind": "record"},
        "relation": "add_remove",
        "nominal_size": 1000,
    }
    declaration: Mapping[str, Any] = {
        "name": name,
        "access": access,
        "source": {"connection": "files", "path": file, "format": "csv"},
        "columns": [dict(column) for column in columns],
        **(protected if access == "private" else {}),
        **changes,
    }
    request = DatasetRequest(
        declaration,
        {},
        population="some people",
        new_people=True if access == "private" and continues is None else None,
        continues=None if continues is None else str(continues),
        version=VersionFacts(no_line_breaks_in_texts=is_whole_lines),
    )
    caller = world.people[who]
    body = {"name": name, "file": file}
    return Datasets(world.make_session).register(caller, request, keyed(caller, "datasets", body))


def spent(world: World) -> tuple[UUID, str]:
    """The root of the world's dataset, all of it spent, and what is consumed."""
    root = world.open_root()
    made = world.reserve(root, PURE, 10)
    world.reservations.commit(world.engineer, UUID(made["id"]), made["fence"], None)
    return root, consumed(world, root)


def consumed(world: World, root: UUID) -> str:
    return str(world.budgets.get(world.people["auditor"], root)["consumed"]["epsilon"])


def state(world: World, dataset_id: UUID) -> str:
    return str(Datasets(world.make_session).get(world.people["auditor"], dataset_id)["state"])


def retire(world: World) -> None:
    datasets, officer = Datasets(world.make_session), world.people["officer"]
    revision = datasets.get(officer, world.dataset_id)["revision"]
    datasets.retire(officer, world.dataset_id, if_version=revision)


def test_deleting_a_dataset_or_its_budget_is_refused_and_forgets_nothing(world: World) -> None:
    root, before = spent(world)
    for table, id_ in ((Budget, root), (DatasetRow, world.dataset_id)):
        with pytest.raises(IntegrityError), transaction(world.make_session) as session:
            session.delete(session.get_one(table, id_))
    assert consumed(world, root) == before == "1"
    assert world.verified()


def test_a_renamed_dataset_keeps_its_root_and_its_rows_are_known_under_every_name(
    world: World,
) -> None:
    root, before = spent(world)
    with transaction(world.make_session) as session:
        session.get_one(DatasetRow, world.dataset_id).name = "renamed"
    with pytest.raises(SourceAlreadyRegistered):
        register(world, "table", "rows.csv")
    with pytest.raises(RootExists):
        world.propose_root()
    assert consumed(world, root) == before


def test_registering_the_same_source_again_is_refused_while_active_and_when_retired(
    world: World,
) -> None:
    root, before = spent(world)
    with pytest.raises(SourceAlreadyRegistered):
        register(world, "again", "rows.csv")
    retire(world)
    with pytest.raises(SourceAlreadyRegistered):
        register(world, "again", "rows.csv")
    assert consumed(world, root) == before


def test_people_who_look_known_are_not_new_until_a_second_officer_says_so(world: World) -> None:
    root, before = spent(world)
    proposed = register(world, "copy", "copy.csv")
    assert proposed["state"] == "proposed"
    copy = UUID(proposed["id"])
    shown = world.approval(proposed["approval_id"]).change["looks_like"]
    assert shown == [{"dataset_id": str(world.dataset_id), "by": ["schema"]}]
    Datasets(world.make_session).grant(world.people["officer"], copy, world.project_id)
    original, world.dataset_id = world.dataset_id, copy
    with pytest.raises(ScopeClosed):
        world.propose_root()
    with pytest.raises(OwnChange):
        world.decide(UUID(proposed["approval_id"]), "approve", who="officer")
    with pytest.raises(NotAllowed):
        world.decide(UUID(proposed["approval_id"]), "approve", who="engineer")
    with pytest.raises(IntegrityError), transaction(world.make_session) as session:
        row = session.get_one(DatasetRow, copy)
        row.state, row.version = "active", row.version + 1
    assert state(world, copy) == "proposed"
    world.decide(UUID(proposed["approval_id"]), "approve")
    assert state(world, copy) == "active"
    assert world.propose_root()["state"] == "proposed"
    assert consumed(world, root) == before
    assert state(world, original) == "active"


@pytest.mark.parametrize("ended", ["rejected", "version moved"])
def test_a_registration_that_nobody_agreed_to_opens_nothing_and_frees_its_name(
    world: World, ended: str
) -> None:
    proposed = register(world, "copy", "copy.csv")
    approval_id, copy = UUID(proposed["approval_id"]), UUID(proposed["id"])
    if ended == "rejected":
        world.decide(approval_id, "reject")
        assert state(world, copy) == "retired"
        again = register(world, "copy", "copy.csv")
        assert again["state"] == "proposed"
        # what was withdrawn is no longer known, what is spent on still is
        looks = world.approval(again["approval_id"]).change["looks_like"]
        assert [each["dataset_id"] for each in looks] == [str(world.dataset_id)]
        return
    datasets, officer = Datasets(world.make_session), world.people["officer"]
    datasets.retire(officer, copy, if_version=1)
    with pytest.raises(VersionMismatch):
        world.decide(approval_id, "approve")
    assert state(world, copy) == "retired"


def test_a_known_location_under_other_columns_takes_two_people(world: World) -> None:
    proposed = register(world, "view", "rows.csv", columns=({"name": "other", "type": "int64"},))
    assert proposed["state"] == "proposed"
    looks = world.approval(proposed["approval_id"]).change["looks_like"]
    assert looks == [{"dataset_id": str(world.dataset_id), "by": ["location"]}]


def test_a_known_unit_column_under_another_schema_takes_two_people(world: World) -> None:
    def columns(other: str) -> tuple[dict[str, str], ...]:
        return ({"name": "person", "type": "string"}, {"name": other, "type": "int64"})

    unit = {
        "kind": "user",
        "column": "person",
        "max_groups_per_user": 3,
        "max_rows_per_user_group": 10,
    }
    first = register(world, "a", "a.csv", columns=columns("x"), unit_of_privacy=unit)
    assert first["state"] == "active"
    second = register(world, "b", "b.csv", columns=columns("y"), unit_of_privacy=unit)
    assert second["state"] == "proposed"
    looks = world.approval(second["approval_id"]).change["looks_like"]
    assert looks == [{"dataset_id": first["id"], "by": ["unit_column"]}]


PERSON = {
    "kind": "user",
    "column": "person",
    "max_groups_per_user": 3,
    "max_rows_per_user_group": 10,
}
BY_PERSON = ({"name": "person", "type": "int64"}, {"name": "x", "type": "int64"})


def test_one_officer_alone_cannot_call_a_copy_of_private_rows_public(world: World) -> None:
    proposed = register(world, "copy", "copy.csv", access="public")
    assert proposed["state"] == state(world, UUID(proposed["id"])) == "proposed"
    change = world.approval(proposed["approval_id"]).change
    assert change["public_rows"] is True
    assert change["looks_like"] == [{"dataset_id": str(world.dataset_id), "by": ["schema"]}]
    with pytest.raises(OwnChange):
        world.decide(UUID(proposed["approval_id"]), "approve", who="officer")
    assert state(world, UUID(proposed["id"])) == "proposed"
    world.decide(UUID(proposed["approval_id"]), "approve")
    assert state(world, UUID(proposed["id"])) == "active"


def test_public_rows_with_the_column_that_names_private_users_take_two_people(
    world: World,
) -> None:
    private = register(world, "a", "a.csv", columns=BY_PERSON, unit_of_privacy=PERSON)
    assert private["state"] == "active"
    columns = ({"name": "Person", "type": "int64"}, {"name": "y", "type": "int64"})
    public = register(world, "b", "b.csv", columns=columns, access="public")
    assert public["state"] == "proposed"
    looks = world.approval(public["approval_id"]).change["looks_like"]
    assert looks == [{"dataset_id": private["id"], "by": ["unit_column"]}]


def test_private_rows_that_look_like_public_ones_take_two_people_too(world: World) -> None:
    """Else the order of two registrations would decide whether anybody is asked."""
    public = register(world, "b", "b.csv", columns=BY_PERSON, access="public")
    assert public["state"] == "active"
    private = register(world, "a", "a.csv", columns=BY_PERSON, unit_of_privacy=PERSON)
    assert private["state"] == "proposed"
    looks = world.approval(private["approval_id"]).change["looks_like"]
    assert looks == [{"dataset_id": public["id"], "by": ["schema", "unit_column"]}]


def test_public_rows_of_one_schema_are_registered_by_one_officer(world: World) -> None:
    for name in ("b", "c"):
        made = register(world, name, f"{name}.csv", columns=BY_PERSON, access="public")
        assert made["state"] == "active"


def test_rows_that_two_people_have_not_called_public_are_no_evaluation_set(world: World) -> None:
    proposed = register(world, "copy", "copy.csv", access="public")
    named = (proposed["id"],)
    with snapshot(world.make_session) as session:
        assert look_up_public(session, world.engineer, named).versions == {}
    world.decide(UUID(proposed["approval_id"]), "approve")
    with snapshot(world.make_session) as session:
        assert look_up_public(session, world.engineer, named).versions == {proposed["id"]: 1}


def test_continuing_a_dataset_adds_a_version_to_its_ledger_and_no_budget(world: World) -> None:
    root, before = spent(world)
    continued = register(world, "next", "next.csv", continues=world.dataset_id)
    assert (continued["id"], continued["version"]) == (str(world.dataset_id), 2)
    assert continued["state"] == "active"
    with pytest.raises(RootExists):
        world.propose_root()
    with pytest.raises(BudgetExceeded):
        world.reserve(root, PURE, 1)
    assert consumed(world, root) == before


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"columns": ({"name": "other", "type": "int64"},)}, "/columns"),
        ({"relation": "replace_one"}, "/relation"),
        ({"nominal_size": 5}, "/nominal_size"),
    ],
)
def test_a_dataset_is_continued_only_by_rows_of_its_own_kind(
    world: World, changes: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidParameter) as refused:
        register(world, "next", "next.csv", continues=world.dataset_id, **changes)
    assert refused.value.pointer == pointer


def test_what_is_retired_unknown_or_another_s_place_is_not_continued(world: World) -> None:
    other = register(world, "b", "b.csv", columns=({"name": "b", "type": "bool"},))
    with pytest.raises(NotFound):
        register(world, "c", "c.csv", continues=uuid4())
    with pytest.raises(SourceAlreadyRegistered):
        register(world, "c", "b.csv", continues=world.dataset_id)
    assert other["state"] == "active"
    retire(world)
    with pytest.raises(AlreadyResolved):
        register(world, "c", "c.csv", continues=world.dataset_id)


def test_a_new_user_finds_the_root_as_spent_as_the_old_one_left_it(world: World) -> None:
    root, before = spent(world)
    outsider = world.people["outsider"]
    with transaction(world.make_session) as session:
        session.add(ProjectMember(project_id=world.project_id, principal_id=outsider.principal_id))
    fresh = Caller(
        outsider.principal_id,
        outsider.name,
        outsider.roles,
        "fresh",
        False,
        frozenset({world.project_id}),
    )
    with pytest.raises(BudgetExceeded):
        world.reserve(root, PURE, 1, who=fresh)
    team = world.open_allocation(root, "0.5")
    with pytest.raises(BudgetExceeded):
        world.reserve(team, PURE, 1, who=fresh)
    assert consumed(world, root) == before


def test_a_dataset_that_retired_does_not_return_and_its_root_is_closed_for_ever(
    world: World,
) -> None:
    root, before = spent(world)
    retire(world)
    assert world.budget(root).state == "closed"
    assert world.bodies(root)[-1]["kind"] == "closed"
    with pytest.raises(ScopeClosed):
        world.propose_root()
    with pytest.raises(ScopeClosed):
        world.change(root, "thaw")
    for table, id_, state_ in (
        (DatasetRow, world.dataset_id, "active"),
        (Budget, root, "open"),
    ):
        with pytest.raises(IntegrityError), transaction(world.make_session) as session:
            setattr(session.get_one(table, id_), "state", state_)  # noqa: B010 - of two tables
    assert consumed(world, root) == before
    assert world.verified()


def test_an_allocation_cannot_be_moved_under_another_root(world: World) -> None:
    root, _ = spent(world)
    team = world.open_allocation(root, "0.5")
    other = UUID(register(world, "b", "b.csv", columns=({"name": "b", "type": "bool"},))["id"])
    with pytest.raises(IntegrityError), transaction(world.make_session) as session:
        session.get_one(Budget, team).dataset_id = other


def test_unit_relation_schema_and_source_of_a_dataset_never_change(world: World) -> None:
    changes: dict[str, Any] = {
        "document": {"columns": []},
        "relation": "replace_one",
        "source_fingerprint": "sha256:0",
        "location_sha256": "0" * 64,
    }
    for name, value in changes.items():
        with pytest.raises(IntegrityError), transaction(world.make_session) as session:
            setattr(session.get_one(DatasetRow, world.dataset_id), name, value)


def test_a_taken_name_is_refused_before_anybody_is_asked(world: World) -> None:
    with pytest.raises(AlreadyExists):
        register(world, "table", "other.csv", columns=({"name": "b", "type": "bool"},))


TEXTS = ({"name": "note", "type": "string"}, {"name": "x", "type": "int64"})


def test_a_csv_file_with_texts_takes_the_word_that_none_holds_a_line_break(world: World) -> None:
    for access in ("private", "public"):
        with pytest.raises(InvalidParameter) as refused:
            register(world, "a", "a.csv", columns=TEXTS, access=access, is_whole_lines=False)
        assert refused.value.pointer == "/no_line_breaks_in_texts"
        assert "line break" in refused.value.reason
        assert "Parquet" in refused.value.reason
    made = register(world, "a", "a.csv", columns=TEXTS)
    with snapshot(world.make_session) as session:
        event = session.scalars(select(AuditEvent).where(AuditEvent.subject == made["id"])).one()
        # whose word it was can be read afterwards
        assert event.actor_id == world.people["officer"].principal_id
        assert event.facts["no_line_breaks_in_texts"] is True


def test_parquet_and_csv_without_texts_need_no_word(world: World) -> None:
    source = {"connection": "files", "path": "a.parquet", "format": "parquet"}
    (world.home / "data" / "a.parquet").write_text("rows")
    parquet = register(world, "a", "a", columns=TEXTS, source=source, is_whole_lines=False)
    plain = register(world, "b", "b.csv", columns=BY_PERSON, is_whole_lines=False)
    assert parquet["state"] == plain["state"] == "active"


def test_each_csv_version_takes_the_word_anew(world: World) -> None:
    made = register(world, "a", "a.csv", columns=TEXTS)
    (world.home / "data" / "b.csv").write_text("note,x\n")
    datasets, officer = Datasets(world.make_session), world.people["officer"]

    def add(stated: VersionFacts) -> dict[str, Any]:
        return datasets.add_version(
            officer,
            UUID(made["id"]),
            path="b.csv",
            format="csv",
            if_version=1,
            keyed=keyed(officer, "versions", "b.csv"),
            stated=stated,
        )

    with pytest.raises(InvalidParameter):
        add(VersionFacts())
    with pytest.raises(InvalidParameter):
        register(
            world,
            "c",
            "c.csv",
            columns=TEXTS,
            continues=UUID(made["id"]),
            is_whole_lines=False,
        )
    assert add(VersionFacts(no_line_breaks_in_texts=True))["version"] == 2
