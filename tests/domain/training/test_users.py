"""Attacks on the spec of training by users: no cap, one above the declared, what cannot be."""

from typing import Any

import pytest

from app.domain.accounting.prices import price
from app.domain.datasets import UnitOfPrivacy
from app.domain.errors import InvalidParameter, MechanismNotPriced, RefusedByName
from app.domain.training.users import UserSpec
from tests.domain.training.test_parsing import _dataset, _language, _parse, _spec

CAPPED = UnitOfPrivacy("user", "note", max_rows_per_user=10)
UNCAPPED = UnitOfPrivacy("user", "note", 3, 5)
CNN = {"name": "cnn", "image": [1, 8, 8], "channels": [4]}


def test_a_user_is_charged_what_a_record_is_where_users_are_the_unit() -> None:
    # the clip is of a user, so the same mechanism is stated for users and not converted (R7)
    by_user, by_record = _parse(_spec(), _dataset(unit=CAPPED)).parts(), _parse(_spec()).parts()
    assert by_user == by_record
    assert price(by_user[0].mechanism, "add_remove") == price(by_record[0].mechanism, "add_remove")


def test_every_default_of_users_stands_in_the_stored_form() -> None:
    spec = _parse(_spec(), _dataset(unit=CAPPED))
    assert spec.user == UserSpec(10, "all")
    stored = spec.to_json()
    assert stored["user"] == {"rows_most": 10, "each_step": "all"}
    assert _parse(stored, _dataset(unit=CAPPED)) == spec


def test_a_cap_may_be_lower_than_the_declared_one_and_never_higher() -> None:
    assert _parse(_spec(user={"rows_most": 4}), _dataset(unit=CAPPED)).user == UserSpec(4, "all")
    with pytest.raises(InvalidParameter) as refusal:
        _parse(_spec(user={"rows_most": 11}), _dataset(unit=CAPPED))
    assert refusal.value.pointer == "/spec/user/rows_most"


def test_without_a_declared_cap_the_spec_has_to_give_one() -> None:
    with pytest.raises(InvalidParameter, match="give a cap") as refusal:
        _parse(_spec(), _dataset(unit=UNCAPPED))
    assert refusal.value.pointer == "/spec/user/rows_most"
    assert _parse(_spec(user={"rows_most": 7}), _dataset(unit=UNCAPPED)).user == UserSpec(7, "all")


def test_records_have_no_users() -> None:
    with pytest.raises(InvalidParameter) as refusal:
        _parse(_spec(user={"rows_most": 4}))
    assert refusal.value.pointer == "/spec/user"


@pytest.mark.parametrize("model", [CNN])
def test_a_model_that_cannot_hold_a_user_takes_one_record_a_step(model: dict[str, Any]) -> None:
    spec = _parse(_spec(model=model), _dataset(unit=CAPPED))
    assert spec.user == UserSpec(10, "one")
    with pytest.raises(InvalidParameter, match="one record") as refusal:
        _parse(_spec(model=model, user={"each_step": "all"}), _dataset(unit=CAPPED))
    assert refusal.value.pointer == "/spec/user/each_step"


def test_nothing_is_learnt_from_the_column_that_names_the_users() -> None:
    with pytest.raises(InvalidParameter, match="names the users"):
        _parse(_language(), _dataset(unit=CAPPED))
    age = UnitOfPrivacy("user", "age", max_rows_per_user=10)
    with pytest.raises(InvalidParameter, match="names the users") as refusal:
        _parse(_spec(features=["pixels", "age"]), _dataset(unit=age))
    assert refusal.value.pointer == "/spec/features/1"
    digit = UnitOfPrivacy("user", "digit", max_rows_per_user=10)
    with pytest.raises(InvalidParameter, match="names the users"):
        _parse(_spec(), _dataset(unit=digit))


def test_rates_and_divisors_count_users() -> None:
    spec = _parse(_spec(normalise_by=None), _dataset(unit=CAPPED, nominal_size=1000))
    assert spec.normalise_by == 50  # rate 0.05 of 1000 users, whatever rows they have


def test_users_that_do_not_fit_into_memory_are_refused() -> None:
    unit = UnitOfPrivacy("user", "note", max_rows_per_user=100_000)
    spec = _parse(_spec(physical_batch_max=None), _dataset(unit=unit))
    assert spec.physical_batch_max == 2**27 // (100_000 * (64 + 128 + 10))
    with pytest.raises(InvalidParameter, match="users of this model") as refusal:
        _parse(_spec(physical_batch_max=256), _dataset(unit=unit))
    assert refusal.value.pointer == "/spec/physical_batch_max"


def test_users_under_replacement_are_refused() -> None:
    with pytest.raises(MechanismNotPriced, match="replace_one"):
        _parse(_spec(), _dataset(unit=CAPPED, relation="replace_one"))


def test_a_clip_profile_of_users_is_refused_by_name() -> None:
    clip = {"mode": "flat", "profile": {"quantile": "0.5", "epsilon": "1"}}
    with pytest.raises(RefusedByName, match="ranks count records") as refusal:
        _parse(_spec(clip=clip), _dataset(unit=CAPPED))
    assert refusal.value.pointer == "/spec/clip/profile"
    assert refusal.value.instead == "norm_l2"
