"""Paths that leave their folder, however they are written, and names for what they lead to."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.datasets import parse_columns
from app.domain.errors import InvalidParameter
from app.services.sources import location_sha256, resolve_source, source_fingerprint

STEPS = st.lists(
    st.sampled_from(["..", ".", "", "a", "b", "door", "rows", "secret", "\x00", "~", "%2e%2e"]),
    min_size=1,
    max_size=7,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """root/a/rows, root/a/b/, a secret beside the root, and doors that lead to it."""
    top = tmp_path_factory.mktemp("top")
    (top / "secret").write_text("private")
    root = top / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "rows").write_text("rows")
    (root / "door").symlink_to("..")
    (root / "a" / "door").symlink_to(top / "secret")
    (root / "a" / "b" / "door").symlink_to("../rows")
    return root


@given(steps=STEPS)
def test_whatever_is_resolved_is_a_file_inside_the_root(root: Path, steps: list[str]) -> None:
    try:
        file = resolve_source(root, "/".join(steps))
    except InvalidParameter:
        return
    assert file == root / "a" / "rows"


def test_a_link_that_stays_inside_is_followed_to_its_file(root: Path) -> None:
    assert resolve_source(root, "a/b/door") == resolve_source(root, "a/rows")


def test_a_link_that_is_turned_around_after_registration_is_refused_by_the_next_look(
    tmp_path: Path,
) -> None:
    inside = tmp_path / "root"
    inside.mkdir()
    (inside / "rows").write_text("rows")
    (tmp_path / "secret").write_text("private")
    (inside / "link").symlink_to("rows")
    assert resolve_source(inside, "link") == inside / "rows"
    (inside / "link").unlink()
    (inside / "link").symlink_to("../secret")
    with pytest.raises(InvalidParameter):
        resolve_source(inside, "link")


def test_a_sibling_folder_whose_name_begins_like_the_root_is_outside(tmp_path: Path) -> None:
    for name in ("data", "data-private"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows").write_text("rows")
    (tmp_path / "data" / "up").symlink_to(tmp_path / "data-private")
    with pytest.raises(InvalidParameter):
        resolve_source(tmp_path / "data", "up/rows")


def test_one_file_has_one_name_and_a_changed_bound_does_not_make_a_new_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "rows").write_text("rows")
    (tmp_path / "link").symlink_to("rows")
    location = location_sha256(resolve_source(tmp_path, "link"))
    assert location == location_sha256(resolve_source(tmp_path, "./rows"))
    narrow, wide = (
        parse_columns([{"name": "x", "type": "int64", "bounds": {"low": "0", "high": high}}])
        for high in ("1", "2")
    )
    other = parse_columns([{"name": "y", "type": "int64"}])
    assert source_fingerprint(location, narrow) == source_fingerprint(location, wide)
    assert source_fingerprint(location, narrow) != source_fingerprint(location, other)
    (tmp_path / "rows").rename(tmp_path / "moved")
    assert location != location_sha256(resolve_source(tmp_path, "moved"))
