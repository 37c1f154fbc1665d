"""Jobs that run elsewhere, held by the one-file client against the real routes (R15, L6)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from app import client as client_module
from app.client import EpsilonLedger, HeldReservation, LeaseLost, Refused, from_dp_event
from app.db.models import Reservation
from app.db.session import transaction
from app.services.sweep import sweep
from tests.api.world import World, open_root, register
from tests.patience import PATIENCE_S, wait_until

PURE = {"type": "pure", "epsilon": "0.01"}
DIGEST = "a" * 64


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAUSE_FIRST_S", 0.0)
    monkeypatch.setattr(client_module, "PAUSE_MOST_S", 0.01)


class House:
    """An open budget of epsilon 1, and clients over the application in this process."""

    def __init__(self, world: World) -> None:
        self.world = world
        dataset = register(world)
        self.budget = open_root(world, dataset)
        self.inputs = [{"dataset_id": dataset, "version": 1, "budget_id": self.budget}]
        body = {"principal_id": world.ids["ml_engineer"], "is_runner": True}
        world.keys["runner"] = world.made("/api-keys", body, by="admin")["key"]
        self.transport = world.client._transport

    def ledger(
        self, by: str = "ml_engineer", transport: httpx.BaseTransport | None = None
    ) -> EpsilonLedger:
        key = self.world.keys[by]
        return EpsilonLedger("http://testserver", key, transport=transport or self.transport)

    def hold(self, ledger: EpsilonLedger, **changes: Any) -> HeldReservation:
        asked: dict[str, Any] = {"mechanism": PURE, "max_units": 10, "tool": "tumult 1.0"}
        return ledger.reservation(inputs=self.inputs, **{**asked, **changes})

    def held(self) -> tuple[float, float]:
        """Committed and reserved epsilon."""
        budget = self.ledger().get(f"/v1/budgets/{self.budget}")
        return float(budget["committed"]["epsilon"]), float(budget["reserved"]["epsilon"])

    def state(self, held: HeldReservation) -> str:
        state: str = self.ledger().get(f"/v1/reservations/{held.id}")["state"]
        return state

    def change(self, held: HeldReservation, change: Callable[[Reservation], None]) -> None:
        with transaction(self.make_session) as session:
            change(session.get_one(Reservation, UUID(held.id)))

    def end_lease(self, held: HeldReservation) -> None:
        def end(row: Reservation) -> None:
            row.lease_until = datetime.now(UTC) - timedelta(seconds=1)

        self.change(held, end)

    @property
    def make_session(self) -> Any:
        return self.world.client.app.state.services.make_session  # type: ignore[attr-defined]

    def losing(self, ending: str, answers: int) -> tuple[httpx.MockTransport, list[str]]:
        """A network that acts on requests to paths ending so and loses their first answers."""
        lost: list[str] = []

        def handle(request: httpx.Request) -> httpx.Response:
            answer: httpx.Response = self.transport.handle_request(request)
            answer.read()
            if request.url.path.endswith(ending) and len(lost) < answers:
                lost.append(request.url.path)
                raise httpx.ReadError("the answer is lost")
            return answer

        return httpx.MockTransport(handle), lost


@pytest.fixture
def house(on_sqlite: World) -> House:
    return House(on_sqlite)


class BrokeDown(Exception):
    """What a job may die of."""


def test_what_was_started_is_in_the_ledger_before_the_chunk_can_run(house: House) -> None:
    with house.hold(house.ledger()) as held:
        assert house.held() == (0, 0.1)
        for units in (3, 7):
            held.start(units)
            seen = house.ledger().get(f"/v1/reservations/{held.id}")
            assert (seen["state"], seen["started_units"]) == ("touched", units)


def test_a_team_pays_the_whole_and_a_runner_what_it_started(house: House) -> None:
    with house.hold(house.ledger()) as held:
        held.start(2)
        held.output_sha256 = DIGEST
    assert house.held() == (0.1, 0)
    with house.hold(house.ledger("runner")) as ran:
        ran.start(2)
        ran.start(3)
    assert house.held() == (0.13, 0)
    with transaction(house.make_session) as session:
        assert session.get_one(Reservation, UUID(held.id)).output_sha256 == DIGEST


def test_a_block_that_ends_well_pays_even_where_it_never_said_start(house: House) -> None:
    with house.hold(house.ledger()):
        pass
    assert house.held() == (0.1, 0)


def test_a_runner_that_said_no_start_is_told_so_and_charged_nothing(house: House) -> None:
    with pytest.raises(Refused) as refused, house.hold(house.ledger("runner")) as held:
        pass
    assert refused.value.code == "nothing-started"
    house.end_lease(held)
    sweep(house.make_session)
    assert house.held() == (0, 0)


@pytest.mark.parametrize(("by", "paid"), [("ml_engineer", 0.1), ("runner", 0.04)])
def test_a_job_that_breaks_after_a_start_has_paid_when_its_error_comes_out(
    house: House, by: str, paid: float
) -> None:
    with pytest.raises(BrokeDown) as broken, house.hold(house.ledger(by)) as held:
        held.start(4)
        raise BrokeDown
    assert not hasattr(broken.value, "__notes__")
    assert house.held() == (paid, 0)


def test_an_error_before_any_start_gives_nothing_back_without_the_sentence(house: House) -> None:
    with pytest.raises(BrokeDown) as broken, house.hold(house.ledger()) as held:
        raise BrokeDown
    assert "left open" in broken.value.__notes__[0]
    assert held.id in broken.value.__notes__[0]
    assert house.held() == (0, 0.1)
    house.end_lease(held)
    assert sweep(house.make_session).lapsed == 1
    assert house.held() == (0.1, 0)
    with pytest.raises(Refused):
        held.nothing_was_read()
    assert house.held() == (0.1, 0)


def test_the_sentence_can_still_be_signed_after_the_block(house: House) -> None:
    with pytest.raises(BrokeDown), house.hold(house.ledger()) as held:
        raise BrokeDown
    held.nothing_was_read()
    assert (house.state(held), house.held()) == ("voided", (0, 0))


def test_after_the_sentence_nothing_starts_and_the_end_charges_nothing(house: House) -> None:
    with house.hold(house.ledger()) as held:
        held.nothing_was_read()
        with pytest.raises(ValueError, match="settled"):
            held.start(1)
    assert (house.state(held), house.held()) == ("voided", (0, 0))


def test_the_sentence_is_not_taken_once_a_unit_was_started(house: House) -> None:
    with house.hold(house.ledger("runner")) as held:
        held.start(1)
        with pytest.raises(Refused) as refused:
            held.nothing_was_read()
        assert refused.value.code == "already-touched"
    assert house.held() == (0.01, 0)


def test_a_start_whose_answers_are_all_lost_counts_as_a_start(house: House) -> None:
    transport, lost = house.losing("/start", client_module.ATTEMPTS_MOST)
    with pytest.raises(httpx.ReadError), house.hold(house.ledger("runner", transport)) as held:
        held.start(4)
    assert len(lost) == client_module.ATTEMPTS_MOST
    assert (house.state(held), house.held()) == ("posted", (0.04, 0))


def test_a_start_that_is_refused_is_no_start(house: House) -> None:
    with pytest.raises(Refused), house.hold(house.ledger()) as held:
        held.start(11)
    assert house.state(held) == "reserved"
    held.nothing_was_read()
    assert house.held() == (0, 0)


def test_lost_answers_reserve_start_and_commit_once(house: House) -> None:
    for ending in ("/reservations", "/start", "/commit"):
        transport, lost = house.losing(ending, 2)
        with house.hold(house.ledger("runner", transport), max_units=5) as held:
            held.start(2)
        assert len(lost) == 2
    assert house.held() == (0.06, 0)
    assert held.id


def test_units_that_have_run_are_not_run_again_under_the_same_charge(house: House) -> None:
    with house.hold(house.ledger("runner")) as held:
        held.start(4)
        for again in (4, 3, 0, -1):
            with pytest.raises(ValueError, match="4 units of part 0 were started"):
                held.start(again)
        held.start(5)
    assert house.held() == (0.05, 0)


def test_a_second_process_under_the_key_goes_on_behind_the_units_of_the_first(house: House) -> None:
    first = house.hold(house.ledger("runner"), idempotency_key="night-run", lease_s=10)
    first.__enter__()
    first.start(4)
    first._ended.set()  # the process is gone: no commit, no heartbeat
    with house.hold(house.ledger("runner"), idempotency_key="night-run", lease_s=10) as second:
        assert second.id == first.id
        with pytest.raises(ValueError, match="4 units"):
            second.start(4)
        second.start(6)
    assert house.held() == (0.06, 0)
    with pytest.raises(LeaseLost, match="posted"):
        house.hold(house.ledger("runner"), idempotency_key="night-run", lease_s=10).__enter__()


def test_of_two_live_processes_under_one_key_the_first_can_start_nothing_more(
    house: House,
) -> None:
    first = house.hold(house.ledger("runner"), idempotency_key="night-run")
    with pytest.raises(LeaseLost) as lost, first:
        first.start(4)
        with house.hold(house.ledger("runner"), idempotency_key="night-run") as second:
            second.start(6)
            first.start(7)
    assert lost.value.code == "lease-lost"
    # the second block ended by the first one's error: its started units are committed
    assert house.held() == (0.06, 0)


def test_a_resume_whose_answer_is_lost_is_asked_again_and_holds(house: House) -> None:
    transport, lost = house.losing("/resume", 2)
    with house.hold(house.ledger("runner", transport), idempotency_key="night-run") as held:
        held.start(3)
    assert (len(lost), held.fence) == (2, 4)
    assert house.held() == (0.03, 0)


def test_a_key_of_its_own_is_refused_to_a_team_before_anything_is_reserved(house: House) -> None:
    with (
        pytest.raises(ValueError, match="registered runner"),
        house.hold(house.ledger(), idempotency_key="night-run"),
    ):
        pass
    assert house.held() == (0, 0)


def test_a_heartbeat_keeps_the_lease_and_ends_with_the_block(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "BEATS_A_LEASE", 500)
    with house.hold(house.ledger(), lease_s=10) as held:

        def lease_of(held: HeldReservation) -> str:
            return str(house.ledger().get(f"/v1/reservations/{held.id}")["lease_until"])

        beating = held._beating
        first = lease_of(held)
        wait_until(lambda: lease_of(held) > first, what="a longer lease")
    assert not beating.is_alive()


def test_nothing_starts_once_the_heartbeat_was_told_that_the_lease_is_lost(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "BEATS_A_LEASE", 100)
    with pytest.raises(LeaseLost) as lost, house.hold(house.ledger(), lease_s=10) as held:
        held.start(1)
        house.end_lease(held)
        held._beating.join(PATIENCE_S)
        held.start(2)
    assert lost.value.code == "lease-lost"
    assert "not committed" in lost.value.__notes__[0]
    sweep(house.make_session)
    assert house.held() == (0.1, 0)


def test_nothing_starts_once_no_sign_of_life_came_through_for_a_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "BEATS_A_LEASE", 20)
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path.rpartition("/")[2])
        if asked[-1] == "heartbeat":
            raise httpx.ConnectError("no way through")
        return httpx.Response(200, json={"id": "r1", "fence": 1, "state": "touched"})

    ledger = EpsilonLedger("http://x", "el_k", transport=httpx.MockTransport(handle))
    held = ledger.reservation(inputs=[], parts=[], tool="t", lease_s=1)
    with held:
        held.start(1)
        held._beating.join(PATIENCE_S)
        with pytest.raises(LeaseLost, match="no sign of life"):
            held.start(2)
    assert asked.count("start") == 1
    assert asked.count("heartbeat") > 1


def test_without_room_the_block_is_never_entered(house: House) -> None:
    entered = False
    with pytest.raises(Refused) as refused, house.hold(house.ledger(), max_units=101):
        entered = True
    assert not entered
    assert refused.value["fits"]["max_units"] == 100
    assert house.held() == (0, 0)


def test_a_reservation_has_one_block_and_an_output_a_whole_digest(house: House) -> None:
    with house.hold(house.ledger()) as held:
        for digest in ("", "A" * 64, "a" * 63, "sha256:" + DIGEST):
            with pytest.raises(ValueError, match="SHA-256"):
                held.output_sha256 = digest
    with pytest.raises(ValueError, match="had its block"), held:
        pass
    assert house.held() == (0.1, 0)


def test_the_parts_of_an_adapter_are_quoted_and_started_apart(house: House) -> None:
    import dp_accounting as dpa

    event = dpa.ComposedDpEvent(
        [dpa.SelfComposedDpEvent(dpa.LaplaceDpEvent(100.0), 20), dpa.LaplaceDpEvent(50.0)]
    )
    parts = from_dp_event(event)
    ledger = house.ledger("runner")
    quote = ledger.quote(inputs=house.inputs, parts=parts)
    assert quote["charges"][0]["asked"]["epsilon"] == "0.22"
    with ledger.reservation(inputs=house.inputs, parts=parts, tool="dp-accounting 0.6") as held:
        held.start(15)
        held.start(1, part=1)
    assert house.held() == (0.17, 0)
