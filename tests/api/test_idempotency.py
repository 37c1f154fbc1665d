"""A repeat has no second effect and gets the first answer, whatever that was (R16)."""

from concurrent.futures import ThreadPoolExecutor

from httpx import Response

from tests.api.world import World, budget_body, dataset_body, open_root, register, reservation_body


def same(first: Response, again: Response) -> bool:
    return (first.status_code, first.content) == (again.status_code, again.content)


def test_a_repeated_registration_gets_the_first_answer_and_makes_nothing(world: World) -> None:
    body = dataset_body(world.file("trips.parquet"))
    first = world.ask("POST", "/datasets", body, by="compliance_officer", key="k")
    again = world.ask("POST", "/datasets", body, by="compliance_officer", key="k")
    assert first.status_code == 201
    assert same(first, again)
    assert again.headers["Location"] == first.headers["Location"]
    assert len(world.ask("GET", "/datasets", by="auditor").json()["items"]) == 1


def test_a_repeated_refusal_is_given_word_for_word_though_it_would_pass_now(
    world: World,
) -> None:
    dataset = register(world)
    budget = open_root(world, dataset)
    held = world.made(
        "/reservations", reservation_body(dataset, budget, max_units=60), by="ml_engineer"
    )
    asked = reservation_body(dataset, budget, max_units=50)
    first = world.ask("POST", "/reservations", asked, key="k")
    assert first.status_code == 409
    void = {"fence": held["fence"], "statement": "no private row was read"}
    world.made(f"/reservations/{held['id']}/void", void, by="ml_engineer")
    assert same(first, world.ask("POST", "/reservations", asked, key="k"))
    assert world.ask("POST", "/reservations", asked, key="other").status_code == 201


def test_a_repeated_registration_refusal_is_given_word_for_word(world: World) -> None:
    register(world)
    body = {**dataset_body("trips.parquet"), "name": "other"}
    first = world.ask("POST", "/datasets", body, by="compliance_officer", key="k")
    again = world.ask("POST", "/datasets", body, by="compliance_officer", key="k")
    assert first.status_code == 409
    assert same(first, again)
    events = world.ask("GET", "/audit-events", by="auditor").json()["items"]
    refused = [event for event in events if event["action"].startswith("refused.")]
    assert len(refused) == 1


def test_a_key_with_another_body_is_refused_and_another_spelling_is_not_another_body(
    world: World,
) -> None:
    dataset = register(world)
    budget = open_root(world, dataset)
    body = reservation_body(dataset, budget)
    first = world.ask("POST", "/reservations", body, key="k")
    turned = dict(reversed(body.items()))
    assert same(first, world.ask("POST", "/reservations", turned, key="k"))
    other = world.ask("POST", "/reservations", {**body, "max_units": 11}, key="k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


def test_a_key_belongs_to_its_principal_and_its_route(world: World) -> None:
    for by, body in (("admin", {"name": "p1"}), ("admin", {"name": "p2"})):
        path = "/projects" if body["name"] == "p1" else "/people"
        sent = body if path == "/projects" else {**body, "roles": ["ml_engineer"]}
        assert world.ask("POST", path, sent, by=by, key="k").status_code == 201


def test_a_malformed_request_leaves_its_key_free_for_the_mended_one(world: World) -> None:
    body = dataset_body(world.file("trips.parquet"))
    bad = {**body, "nominal_size": "many"}
    assert world.ask("POST", "/datasets", bad, by="compliance_officer", key="k").status_code == 422
    assert world.ask("POST", "/datasets", body, by="compliance_officer", key="k").status_code == 201


def test_equal_requests_at_one_time_make_one_thing_and_get_one_answer(world: World) -> None:
    body = dataset_body(world.file("trips.parquet"))

    def send(_: int) -> Response:
        return world.ask("POST", "/datasets", body, by="compliance_officer", key="k")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (201, answers[0].content)
    }
    assert len(world.ask("GET", "/datasets", by="auditor").json()["items"]) == 1


def test_different_requests_for_the_same_rows_at_one_time_make_one_active_dataset(
    world: World,
) -> None:
    path = world.file("trips.parquet")

    def send(number: int) -> int:
        body = dataset_body(path, name=f"n{number}")
        return world.ask("POST", "/datasets", body, by="compliance_officer").status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(send, range(8)))
    # the others say that other people are in these rows: that takes a second person (R18)
    assert statuses == [201] + [202] * 7


def test_equal_requests_for_room_at_one_time_hold_it_once(world: World) -> None:
    dataset = register(world)
    budget = open_root(world, dataset)
    body = reservation_body(dataset, budget)

    def send(_: int) -> Response:
        return world.ask("POST", "/reservations", body, key="k")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (201, answers[0].content)
    }
    read = world.ask("GET", f"/budgets/{budget}").json()
    assert read["reserved"] == {"epsilon": "0.1", "delta": "0"}


def test_the_same_root_proposed_twice_at_one_time_is_made_once(world: World) -> None:
    dataset = register(world)

    def send(_: int) -> int:
        return world.ask(
            "POST", "/budgets", budget_body(dataset), by="compliance_officer"
        ).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(send, range(8))) == [202] + [409] * 7
