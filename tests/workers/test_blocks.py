"""A job over some blocks, from its admission to its result: others' rows are not in it (R8)."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.db.session import snapshot
from app.domain.errors import InvalidParameter
from app.domain.partitions import AskedBlocks, HashBlocks, hash_block
from app.services.closing import VersionFacts
from app.services.datasets import Datasets
from app.services.pricing import InputRequest
from app.services.statements import statement
from app.settings import Settings
from tests import planned
from tests.world import COUNT_QUERY, World, keyed, new_world
from workers.context import Context
from workers.running import resolve_work, run_job

# so large an epsilon that the noise is 0 but for one run in 10**20
EXACT: dict[str, Any] = {
    **COUNT_QUERY,
    "privacy": {"epsilon": "50", "delta": "0", "noise": "discrete_laplace"},
}
DAYS = {
    "kind": "time",
    "column": "day",
    "period": "day",
    "time_zone": "UTC",
    "first_day": "2020-01-01",
    "grace_days": 0,
}


def context_of(world: World) -> Context:
    settings = Settings(database_url="sqlite://", home=world.home / "worker")
    return Context(settings, world.make_session, "a worker", world.journal)


def counted(world: World, root: UUID, blocks: AskedBlocks, *, version: int = 1) -> int:
    """What a count over some blocks releases."""
    made = submitted(world, root, blocks, version=version)
    run_job(context_of(world), UUID(made["id"]))
    result = world.jobs.result(world.engineer, UUID(made["id"]))
    value = result["rows"][0]["cells"][0]["value"]
    assert isinstance(value, int)
    return value


def submitted(world: World, root: UUID, blocks: AskedBlocks, *, version: int) -> dict[str, Any]:
    from app.services.placement import JobRequest

    inputs = (InputRequest(world.dataset_id, version, root, blocks),)
    request = JobRequest("query", inputs, EXACT, "a test")
    asked = keyed(world.engineer, "jobs", [str(blocks), version])
    return world.admissions.submit(world.engineer, request, asked)


def test_a_count_over_blocks_of_time_counts_the_rows_of_these_blocks_as_they_came(
    make_session: sessionmaker[Session], tmp_path: Path
) -> None:
    columns = ({"name": "day", "type": "date"}, {"name": "value", "type": "int64"})
    rows = "day,value\n" + "".join(f"2020-01-{day:02},1\n" for day in (1, 1, 1, 2, 3, 3))
    with new_world(
        make_session, tmp_path, columns=columns, rows=rows, blocks=DAYS, closes_through=1
    ) as world:
        root = world.open_root(epsilon="5000")
        assert counted(world, root, "all") == 4
        assert counted(world, root, ((0, 0),)) == 3
        # late rows of the first days, and one more of the third
        (world.home / "data" / "later.csv").write_text(
            "day,value\n2020-01-01,1\n2020-01-02,1\n,1\n2020-01-03,1\n2020-01-04,1\n"
        )
        officer, datasets = world.people["officer"], Datasets(make_session)
        datasets.add_version(
            officer,
            world.dataset_id,
            path="later.csv",
            format="csv",
            if_version=datasets.get(officer, world.dataset_id)["revision"],
            keyed=keyed(officer, "versions", "later"),
            stated=VersionFacts(3),
        )
        each = [counted(world, root, ((block, block),), version=2) for block in range(4)]
        assert each == [3, 1, 6, 1]
        assert counted(world, root, ((1, 2),), version=2) == 7
        # an old block is read from the files that were there when it closed
        made = submitted(world, root, ((0, 1),), version=2)
        with snapshot(make_session) as session:
            work = resolve_work(session, UUID(made["id"]), tmp_path / "scratch")
        source = work.inputs[0]
        assert [part.file.name for part in source.files] == ["rows.csv"]
        assert source.dataset.nominal_size == 2000
        assert world.verified()


@pytest.mark.parametrize("chosen", [((0, 3),), ((1, 1), (6, 7))])
def test_a_count_over_blocks_of_users_counts_the_users_of_these_blocks(
    make_session: sessionmaker[Session], tmp_path: Path, chosen: Any
) -> None:
    users = [f"user{n}" for n in range(60)]
    unit = {"kind": "user", "column": "who", "max_groups_per_user": 1, "max_rows_per_user_group": 1}
    with new_world(
        make_session,
        tmp_path,
        columns=({"name": "who", "type": "string"}, {"name": "value", "type": "int64"}),
        unit=unit,
        rows="who,value\n" + "".join(f"{who},1\n" for who in users),
        blocks={"kind": "unit_hash", "count": 8},
    ) as world:
        root = world.open_root(epsilon="5000")
        where = [hash_block(str(world.dataset_id), who, HashBlocks(8)) for who in users]
        expected = sum(any(low <= block <= high for low, high in chosen) for block in where)
        assert counted(world, root, chosen) == expected
        assert counted(world, root, "all") == 60


def test_each_month_of_a_user_is_a_unit_that_is_counted_charged_and_stated(
    make_session: sessionmaker[Session], tmp_path: Path
) -> None:
    unit = {
        "kind": "user_period",
        "column": "who",
        "max_groups_per_user": 1,
        "max_rows_per_user_group": 1,
        "max_rows_per_user": 4,
    }
    days = [("a", 1, 5), ("a", 1, 9), ("a", 2, 1), ("b", 2, 3), ("b", 3, 1), ("", 1, 1)]
    with new_world(
        make_session,
        tmp_path,
        columns=({"name": "who", "type": "string"}, {"name": "day", "type": "date"}),
        unit=unit,
        rows="who,day\n" + "".join(f"{who},2020-{month:02}-{day:02}\n" for who, month, day in days),
        blocks={**DAYS, "period": "month"},
        closes_through=2,
    ) as world:
        root = world.open_root(epsilon="5000")
        # of January one, of February two; a row without a user is in no unit
        assert [counted(world, root, ((block, block),)) for block in (0, 1, 2)] == [1, 2, 1]
        assert counted(world, root, "all") == 4
        said = statement(make_session, world.people["auditor"], root, "officer")
        assert "user_period (all rows of one who that came to one month" in str(said)
        # a mechanism on records is charged for all that one has in one block (R7)
        part = {"mechanism": {"type": "pure", "epsilon": "1"}, "max_units": 1, "unit": "record"}
        before = world.budget(root).block_sums
        held = planned.reserve(world, [InputRequest(world.dataset_id, 1, root, ((0, 0),))], part)
        assert held["max_units"] == 1
        assert before != world.budget(root).block_sums
        with pytest.raises(InvalidParameter, match="user_period"):
            planned.reserve(world, root, {**part, "unit": "user"})
        assert world.verified()
