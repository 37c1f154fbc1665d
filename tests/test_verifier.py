"""The verifier alone: a file that stands by itself, its own arithmetic, and hostile bundles.

Its figures are compared with the service's, which is other code: what the service admits the
verifier may not refuse, and what the proof does not allow it has to refuse.
"""

import ast
import dataclasses
import io
import json
import re
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from math import erf, exp, expm1, fsum, sqrt
from pathlib import Path
from random import Random
from typing import Any

import pytest

from app import verifier
from app.domain.accounting.filters import Policy, make_policy
from app.domain.accounting.fits import most_units
from app.domain.accounting.plans import Slot, make_plan
from app.domain.accounting.prices import Price, price
from app.domain.errors import MechanismNotPriced
from app.domain.ledger import canonical_bytes
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Limit, Loss
from app.verifier import Fault

FILE = Path(verifier.__file__)
PROMISES = re.compile(r"\b(compliant|certified|anonymous|guaranteed|safe)\b", re.IGNORECASE)
# these have no price under add_remove
ZERO_OUT = ("randomized_response", "tree_aggregation")
LIMITS = [("8", "1e-6"), ("1", "1e-6"), ("0.1", "1e-9"), ("3.5", "1e-5"), ("100", "0.01")]
# weights alone: hardly a job passes the smallest of these, and none is needed to open a budget
TINY = [("1e-18", "1e-15"), ("1e-60", "1e-6"), ("10000", "0.1")]
GAUSSIAN: dict[str, Any] = {"type": "gaussian", "noise_multiplier": "50"}
POISSON: dict[str, Any] = {
    "type": "poisson_sampled",
    "rate": "0.01",
    "of": {"type": "gaussian", "noise_multiplier": "1.1"},
}
MECHANISMS: list[dict[str, Any]] = [
    GAUSSIAN,
    {"type": "gaussian", "noise_multiplier": "0.31", "sampler": "ours 1.0"},
    {"type": "laplace", "scale": "3", "sensitivity_l1": "2"},
    {"type": "laplace", "scale": "1e12", "sensitivity_l1": "1"},
    {"type": "laplace", "scale": "1", "sensitivity_l1": "9000"},
    {"type": "discrete_laplace", "scale": "0.04", "sensitivity_l1": "1"},
    {"type": "discrete_laplace", "scale": "77.5", "sensitivity_l1": "3"},
    {"type": "discrete_laplace", "scale": "1e20", "sensitivity_l1": "100000000"},
    {"type": "discrete_gaussian", "sigma": "4.4", "sensitivity_l2": "1.5"},
    {"type": "pure", "epsilon": "0.3"},
    {"type": "pure", "epsilon": "1e-15"},
    {"type": "pure", "epsilon": "5000"},
    {"type": "pure", "epsilon": "1e-0006"},
    {"type": "approximate", "epsilon": "0.7", "delta": "1e-8"},
    {"type": "approximate", "epsilon": "0", "delta": "1e-3"},
    {"type": "approximate", "epsilon": "400", "delta": "0.1"},
    {"type": "approximate", "epsilon": "9999", "delta": "1e-15"},
    {"type": "zcdp", "rho": "0.02"},
    {"type": "zcdp", "rho": "0.02", "xi": "0.001"},
    {"type": "exponential", "epsilon": "0.4"},
    {"type": "exponential", "epsilon": "12"},
    {"type": "randomized_response", "epsilon": "1.1"},
    {"type": "tree_aggregation", "noise_multiplier": "6", "steps": 100},
    POISSON,
    {**POISSON, "rate": "1"},
    {**POISSON, "rate": "0.99999999999999999999"},
    {**POISSON, "rate": "0.9999999999996", "of": {"type": "gaussian", "noise_multiplier": "4e8"}},
    {**POISSON, "rate": "0.5", "of": {"type": "gaussian", "noise_multiplier": "0.02"}},
    {**POISSON, "rate": "1e-9"},
    {**POISSON, "rate": "0.3", "of": {"type": "gaussian", "noise_multiplier": "0.4"}},
    {**POISSON, "rate": "0.0004", "of": {"type": "gaussian", "noise_multiplier": "11"}},
    {"type": "threshold", "of": GAUSSIAN, "groups": 4, "delta": "1e-9"},
    {
        "type": "threshold",
        "of": {"type": "laplace", "scale": "9", "sensitivity_l1": "1"},
        "groups": 1,
        "delta": "1e-6",
    },
    {"type": "repeated", "count": 12, "of": {"type": "repeated", "count": 3, "of": POISSON}},
    {"type": "composed", "of": [GAUSSIAN, GAUSSIAN, {"type": "pure", "epsilon": "0.1"}, POISSON]},
    {"type": "composed", "of": [GAUSSIAN, {"type": "repeated", "count": 5, "of": GAUSSIAN}]},
]


def priced(mechanism: dict[str, Any], relation: str = "add_remove") -> Price:
    return price(parse_mechanism(mechanism), relation)


def read(found: Price) -> verifier.Price:
    return verifier.read_price(json.loads(canonical_bytes(found.to_json())))


def policy_of(policy: Any) -> verifier.Policy:
    return verifier.read_policy(json.loads(canonical_bytes(policy.to_json())))


def amount(loss: Loss) -> int:
    return verifier.packed(
        loss.nats_2p40,
        loss.dead,
        loss.maximum_dead,
        loss.gaussian_dead,
        loss.delta_atto,
        loss.gaussian_atto,
        loss.maximum_atto,
    )


def test_the_file_asks_for_cryptography_and_the_standard_library_alone() -> None:
    asked = set()
    for node in ast.walk(ast.parse(FILE.read_text())):
        if isinstance(node, ast.Import):
            asked |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            asked.add(str(node.module).partition(".")[0])
    assert asked - set(sys.stdlib_module_names) == {"cryptography"}


def test_nothing_that_it_says_promises_more_than_a_proof_can() -> None:
    """Of all its texts, help, errors and verdict among them, none has one of these words (L9)."""
    texts = [
        node.value
        for node in ast.walk(ast.parse(FILE.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert any("Check an exported ledger" in text for text in texts)
    assert [text for text in texts if PROMISES.search(text)] == []
    assert PROMISES.search(verifier.parser().format_help()) is None


def test_a_copy_of_the_file_runs_far_from_the_service(tmp_path: Path) -> None:
    (tmp_path / "verifier.py").write_bytes(FILE.read_bytes())
    (tmp_path / "empty.jsonl").write_bytes(b"")
    command = [sys.executable, "verifier.py", "empty.jsonl", "--unsigned"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr
    assert "its last line is missing" in ran.stdout


@pytest.mark.parametrize("relation", ["add_remove", "replace_one", "zero_out"])
@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda m: json.dumps(m)[:60])
def test_every_price_of_the_service_is_found_right_and_charges_the_same(
    mechanism: dict[str, Any], relation: str
) -> None:
    try:
        found = priced(mechanism, relation)
    except MechanismNotPriced:
        with pytest.raises(Fault):
            verifier.repriced(canonical_bytes(mechanism).decode(), relation)
        return
    mine = read(found)
    for units in (0, 1, 2, 7, 1000, 2**40):
        charge = found.charge(units)
        assert mine.charge(units) == amount(charge)
        assert verifier.charge_text(mine.charge(units)).encode() == canonical_bytes(
            charge.to_json()
        )


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda m: json.dumps(m)[:60])
@pytest.mark.parametrize("factor", [0.999999, 1.000001])
def test_a_price_that_is_a_millionth_off_is_found(mechanism: dict[str, Any], factor: float) -> None:
    relation = "zero_out" if mechanism["type"] in ZERO_OUT else "add_remove"
    found = priced(mechanism, relation)
    moved = [(count, tuple(nats * factor for nats in vector)) for count, vector in found.terms]
    # where every loss lies below what R1 adds, a millionth of it moves nothing
    largest = max(max(nats for nats in vector if nats < 1e300) for _, vector in moved)
    other = Price(
        found.mechanism,
        relation,
        tuple(moved),
        found.maximum_atto,
        found.delta_atto,
        found.gaussian_1e36,
        found.priced_by,
    )
    if largest < 1e-8:
        assert other.charge(1).nats_2p40 == found.charge(1).nats_2p40
        return
    with pytest.raises(Fault) as fault:
        read(other)
    assert fault.value.code == "price"


@pytest.mark.parametrize("noise", ["0.05", "0.4", "1.1", "30", "1e6"])
@pytest.mark.parametrize("rate", ["1e-7", "0.004", "0.6", "0.9999"])
def test_no_order_of_a_sampled_gaussian_is_priced_below_what_it_loses(
    rate: str, noise: str
) -> None:
    """Between whole orders convexity alone leaves room: down to nothing at 1.5, a fifth at 2.5."""
    q, s = float(rate), float(noise)
    for whole in (2, 3, 5):
        exact = verifier._log_moment(q, s, whole)
        assert verifier._log_moment_between(q, s, float(whole)) == pytest.approx(exact, rel=1e-11)
    of = {"type": "gaussian", "noise_multiplier": noise}
    found = priced({"type": "poisson_sampled", "rate": rate, "of": of})
    read(found)
    ((count, vector),) = found.terms
    for at, order in enumerate(map(float, verifier.ORDERS)):
        if order > 5 or order.is_integer():
            continue
        lost = verifier._log_moment_between(q, s, order) / (order - 1)
        assert vector[at] > lost * (1 - 1e-10)
        if lost < 1e-10:
            continue  # what R1 adds is more than all of it
        cheaper = (*vector[:at], lost * 0.9999, *vector[at + 1 :])
        other = dataclasses.replace(found, terms=((count, cheaper),))
        with pytest.raises(Fault, match="below its mechanism's loss"):
            read(other)


@pytest.mark.parametrize(("epsilon", "delta"), LIMITS)
@pytest.mark.parametrize("split", ["0.9", "0.5", "1", "0.01"])
def test_the_weights_of_every_policy_are_found_again_to_the_last_digit(
    epsilon: str, delta: str, split: str
) -> None:
    limit = Limit(Decimal(epsilon), Decimal(delta))
    for accountant in ("rdp-mix/1", "gdp/1"):
        policy_of(make_policy(accountant, limit, Decimal(split))).check_new()
    document = make_policy("rdp-mix/1", limit, Decimal(split)).to_json()
    for at in range(36):
        weights = list(document["weights_2p80"])
        if weights[at] == "0":
            continue
        weights[at] = str(int(weights[at]) - 1)
        with pytest.raises(Fault):
            verifier.read_policy({**document, "weights_2p80": weights}).check_new()


@pytest.mark.parametrize(("epsilon", "delta"), TINY)
def test_the_weights_of_limits_at_the_ends_of_their_range_are_found_again(
    epsilon: str, delta: str
) -> None:
    policy_of(make_policy("rdp-mix/1", Limit(Decimal(epsilon), Decimal(delta)))).check_new()


@pytest.mark.parametrize(("epsilon", "delta"), LIMITS)
def test_mu_squared_is_the_largest_that_the_limit_allows(epsilon: str, delta: str) -> None:
    document = make_policy("gdp/1", Limit(Decimal(epsilon), Decimal(delta))).to_json()
    for moved in (-1, 1):
        squares = str(int(document["squares_atto"]) + moved)
        with pytest.raises(Fault):
            verifier.read_policy({**document, "squares_atto": squares}).check_new()


def losses(draw: Random, policy: Policy) -> list[Loss]:
    """Losses around the edge of what a policy admits, of many mixtures of mechanisms."""
    found = []
    for _ in range(12):
        held = Loss.zero()
        drawn = draw.sample([each for each in MECHANISMS if each["type"] not in ZERO_OUT], 3)
        chosen = [priced(each) for each in drawn]
        for each in chosen:
            room = most_units(policy.admits, each, 2**30, beside=held)
            held += each.charge(draw.randint(0, room))
        for each in chosen:
            room = most_units(policy.admits, each, 2**30, beside=held)
            found += [held + each.charge(units) for units in (room, room + 1, room + 2, 2 * room)]
    return found


@pytest.mark.parametrize(("epsilon", "delta"), LIMITS)
@pytest.mark.parametrize("accountant", ["rdp-mix/1", "gdp/1", "basic/1", "pure/1"])
def test_what_the_service_admits_is_admitted_and_what_breaks_the_proof_is_not(
    accountant: str, epsilon: str, delta: str
) -> None:
    delta = "0" if accountant == "pure/1" else delta
    policy = make_policy(accountant, Limit(Decimal(epsilon), Decimal(delta)))
    mine = policy_of(policy)
    admitted = refused = 0
    for loss in losses(Random(7), policy):
        verdict = mine.admits(amount(loss))
        admitted += verdict
        refused += not verdict
        if policy.admits(loss):
            assert verdict
        elif accountant != "rdp-mix/1":
            assert not verdict
        elif verdict:
            assert holds_everywhere(mine, loss)
    assert admitted
    assert refused or accountant != "rdp-mix/1"


def holds_everywhere(policy: verifier.Policy, loss: Loss) -> bool:
    """(*) itself at many losses above epsilon, by no walk at all."""
    assert isinstance(policy, verifier.Mixture)
    most = float("inf") if loss.maximum_dead else loss.maximum_atto / 1e18
    epsilon = float(policy.epsilon)
    for k in range(700):
        x = min(2.0 ** (k / 16 - 30), most - epsilon)
        right = fsum(
            weight / 2**80 * exp(min(700.0, (float(a) - 1) * (epsilon + x - nats / 2**40)))
            for a, weight, nats, dead in zip(
                verifier.ORDERS, policy.weights, loss.nats_2p40, loss.dead, strict=True
            )
            if not dead
        )
        if right < -expm1(-x) * (1 - 1e-9):
            return False
    return True


def test_the_exact_walk_agrees_with_the_float_walk_where_that_proves() -> None:
    policy = make_policy("rdp-mix/1", Limit(Decimal(2), Decimal("1e-6")))
    mine = policy_of(policy)
    assert isinstance(mine, verifier.Mixture)
    one = priced(GAUSSIAN)
    edge = most_units(policy.admits, one, 2**20, beside=Loss.zero())
    proven = []
    for units in (edge * 9 // 10, edge - 1, edge, edge + edge // 50, edge * 2):
        near = [
            (index, mine.epsilon_2p40 - nats)
            for index, nats in enumerate(one.charge(units).nats_2p40)
        ]
        by_floats, exactly = mine._walk(near, None), mine._walk_exactly(near, None)
        assert exactly or not by_floats
        proven.append(exactly)
    assert proven[:3] == [True] * 3
    assert proven[-1] is False


def test_a_plan_of_gaussians_is_composed_anew_and_counts_its_slots() -> None:
    limit = Limit(Decimal(1), Decimal("1e-6"))
    plan = make_plan([Slot("nightly", parse_mechanism(GAUSSIAN), 30)], "add_remove", limit)
    mine = policy_of(plan)
    mine.check_new()
    part = verifier.Part(read(priced(GAUSSIAN)), "nightly", "")
    held = mine.amount(verifier.Parts((part,), (), (30,), 0, ""))
    assert mine.admits(held)
    assert not mine.admits(held + 1)
    facts = {**plan.to_json(), "epsilon": "0.1"}
    del facts["digest"]
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    lower = {**facts, "digest": sha256(text.encode()).hexdigest()}
    with pytest.raises(Fault) as fault:
        verifier.read_policy(lower).check_new()
    assert "composed figure" in fault.value.what


HEADER = (
    b'{"counts":{"budgets":0,"checkpoints":0,"entries":0,"prices":0},'
    b'"kind":"epsilon-ledger/bundle","made_at":"2026-01-01T00:00:00.000000Z","v":1}\n'
)
HOSTILE = {
    "nothing": b"",
    "no header": b'{"end":{"lines":1,"sha256":""}}\n',
    "another version": HEADER.replace(b'"v":1', b'"v":2'),
    "a header of a boolean version": HEADER.replace(b'"v":1', b'"v":true'),
    "two headers": HEADER + HEADER,
    "a line without end": HEADER + b'{"price":' + b"1" * 3_000_000,
    "an endless checkpoint": HEADER + b'{"checkpoint":{"body":{' + b"[" * 3_000_000,
    "brackets": HEADER + b'{"price":' + b"[" * 900_000 + b"]" * 100_000 + b"}\n",
    "objects": HEADER + b'{"price":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001 + b"\n",
    "brackets in an entry": HEADER + b'{"entry":{"body":' + b"[" * 900_000 + b"\n",
    "a huge number": HEADER + b'{"price":' + b"9" * 900_000 + b"}\n",
    "a float": HEADER + b'{"price":1.0}\n',
    "no number": HEADER + b'{"price":NaN}\n',
    "a key twice": HEADER + b'{"price":{"digest":1,"digest":1,"document":{}}}\n',
    "blanks": HEADER + b'{"price": {}}\n',
    "no text": HEADER + b'{"price":"\xff\xfe"}\n',
    "a lone surrogate": HEADER + b'{"price":"\\ud800"}\n',
    "lists for objects": HEADER + b'{"price":[]}\n',
    "null": HEADER + b"null\n",
    "an empty line": HEADER + b"\n",
    "lists for texts": HEADER
    + b'{"price":{"digest":[],"document":{"digest":{},"mechanism":[]}}}\n',
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(60)
def test_a_hostile_bundle_is_wrong_and_neither_crashes_nor_hangs(name: str) -> None:
    report = verifier.verify(io.BytesIO(HOSTILE[name]), None)
    assert report.fault is not None
    assert report.fault.code in ("form", "end", "price")


def test_hostile_mechanisms_are_refused_before_they_cost_anything() -> None:
    deep: dict[str, Any] = POISSON
    for _ in range(20):
        deep = {"type": "repeated", "count": 2**40, "of": deep}
    hostile: list[Any] = [
        deep,
        {"type": "composed", "of": [POISSON] * 65},
        {"type": "pure", "epsilon": "1e400"},
        {"type": "pure", "epsilon": "-1"},
        {"type": "pure", "epsilon": "NaN"},
        {"type": "pure", "epsilon": 1},
        {"type": "laplace", "scale": "1e-30", "sensitivity_l1": "1e30"},
        {"type": "gaussian", "noise_multiplier": "0"},
        {"type": "tree_aggregation", "noise_multiplier": "1", "steps": 2**60},
        {"type": "threshold", "of": POISSON, "groups": 1, "delta": "1e-6"},
        {"type": "poisson_sampled", "rate": "0.1", "of": {"type": "pure", "epsilon": "1"}},
        {"type": "sketch_lora"},
        {"type": ["pure"]},
        {"type": "pure", "epsilon": "1", "more": "1"},
        [],
    ]
    for mechanism in hostile:
        with pytest.raises(Fault):
            verifier.repriced(json.dumps(mechanism), "add_remove")


def test_ranges_of_blocks_keep_what_each_block_holds() -> None:
    draw, plain = Random(3), [0] * 60
    held = verifier.Holdings()
    for _ in range(300):
        first = draw.randrange(60)
        last = draw.randint(first, 59)
        ranges = verifier.read_ranges([[first, last]])
        for at in held.stretches(ranges):
            held.values[at] += 1 << (first % 7)
        for block in range(first, last + 1):
            plain[block] += 1 << (first % 7)
    seen = [held.values[max(i for i, s in enumerate(held.starts) if s <= b)] for b in range(60)]
    assert seen == plain
    assert held.values[-1] == 0


@pytest.mark.parametrize(
    "ranges", [[], [[1, 0]], [[0, 1], [1, 2]], [[5, 6], [0, 1]], [[0]], [[-1, 0]], [[0, 2**53]], 1]
)
def test_blocks_that_are_no_ranges_are_refused(ranges: Any) -> None:
    with pytest.raises(Fault):
        verifier.read_ranges(ranges)


def test_the_curve_of_a_gaussian_is_that_of_a_closed_form() -> None:
    # at epsilon 0 the delta of mu is 2 Phi(mu / 2) - 1
    for squares in (10**12, 10**16, 10**18, 9 * 10**18, 400 * 10**18):
        mu = sqrt(squares / 1e18)
        found = float(verifier.gaussian_delta(squares, Decimal(0)))
        assert found == pytest.approx(erf(mu / 2 / sqrt(2)), rel=1e-12)
    assert verifier.gaussian_delta(0, Decimal(1)) == Fraction(0)
