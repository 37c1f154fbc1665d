"""Every list is read in pages: each thing once, whatever is added between two pages."""

from typing import Any

from app.main import create_app
from app.settings import Settings
from tests.api.test_pages import ask_for_more
from tests.api.world import World, open_root, register

# lists that cannot grow long, and why
BOUNDED = {
    "list_exceptions": "one line for each lifetime root, while an emergency lasts",
    "list_identities": "one person's links to providers",
    "list_job_charges": "one job's few entries in each scope that it charged",
    "list_models": "what is installed beside the service",
    "list_sessions": "one person's sign-ins, which end by themselves",
}


def test_every_list_takes_a_cursor_and_a_limit_unless_it_cannot_grow_long() -> None:
    document = create_app(Settings()).openapi()
    schemas = document["components"]["schemas"]
    found = set()
    for methods in document["paths"].values():
        operation = methods.get("get", {})
        content = operation.get("responses", {}).get("200", {}).get("content", {})
        answer = content.get("application/json", {}).get("schema", {})
        fields = schemas.get(answer.get("$ref", "").rpartition("/")[2], {}).get("properties", {})
        if "items" not in fields:
            continue
        name = operation["operationId"]
        found.add(name)
        taken = {each["name"] for each in operation.get("parameters", ())}
        in_pages = {"cursor", "limit"} <= taken and "next" in fields
        assert in_pages != (name in BOUNDED), name
    assert BOUNDED.keys() < found


def filled(world: World) -> dict[str, str]:
    """Some of everything that is listed; who reads each list."""
    dataset = register(world)
    approval = ask_for_more(world, open_root(world, dataset), "2")
    for number in range(3):
        world.made("/projects", {"name": f"p{number}"}, by="admin")
        folder = {"name": f"c{number}", "kind": "folder", "root": str(world.folder)}
        world.made("/connections", folder, by="admin")
        hook = {"url": f"https://hooks.example/{number}", "kinds": ["approval"]}
        world.made("/webhooks", hook, by="admin")
        text = {"text": f"remark {number}"}
        world.made(f"/approvals/{approval}/comments", text, by="compliance_officer")
    for name in ("auditor", "stranger", "worker"):
        body = {"address": f"{name}@house.example"}
        path = f"/people/{world.ids[name]}/mail-address"
        assert world.ask("PUT", path, body, by="admin").is_success
    return {
        "/people": "admin",
        "/projects": "admin",
        "/api-keys": "admin",
        "/connections": "admin",
        "/webhooks": "admin",
        "/mail-addresses": "admin",
        f"/approvals/{approval}/comments": "compliance_officer",
        f"/datasets/{dataset}/versions": "auditor",
    }


def read(world: World, path: str, by: str, cursor: str | None, limit: int) -> dict[str, Any]:
    query = f"?limit={limit}" + ("" if cursor is None else f"&cursor={cursor}")
    answer = world.ask("GET", path + query, by=by)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_pages_of_each_list_are_the_list_cut_in_pieces(world: World) -> None:
    for path, by in filled(world).items():
        whole = read(world, path, by, None, 200)
        assert whole["items"], path
        assert whole["next"] is None, path
        for limit in (1, 2):
            page = read(world, path, by, None, limit)
            pieces = page["items"]
            while page["next"] is not None:
                assert len(page["items"]) == limit
                page = read(world, path, by, page["next"], limit)
                pieces += page["items"]
            assert pieces == whole["items"], path


def test_what_is_added_between_two_pages_moves_nothing(on_sqlite: World) -> None:
    world = on_sqlite
    for name in ("bears", "cats", "dogs"):
        world.made("/projects", {"name": name}, by="admin")
    first = read(world, "/projects", "admin", None, 2)
    for name in ("apes", "crows"):
        world.made("/projects", {"name": name}, by="admin")
    rest = read(world, "/projects", "admin", first["next"], 50)
    names = [each["name"] for each in first["items"] + rest["items"]]
    assert names == ["bears", "cats", "crows", "dogs", "team"]


def test_a_cursor_gives_no_right_and_serves_its_own_list_alone(on_sqlite: World) -> None:
    world = on_sqlite
    cursor = read(world, "/projects", "admin", None, 1)["next"]
    ask = world.ask
    assert ask("GET", f"/projects?cursor={cursor}", by="stranger").status_code == 404
    assert ask("GET", f"/people?cursor={cursor}", by="admin").status_code == 404
    assert ask("GET", f"/people?cursor={cursor}", by="stranger").status_code == 403
    for path in ("/api-keys", "/mail-addresses"):
        answer = ask("GET", f"{path}?cursor={cursor}", by="admin")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-parameter")
