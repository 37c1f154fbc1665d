"""The key of webhooks is replaced while both sign, and no crash within it loses either."""

from pathlib import Path
from uuid import UUID

import pytest

from app.services import webhook_keys
from app.services.signing import KeyRefused
from app.services.webhooks import end_rotation, rotate_key
from tests.receiver import free_port, received, receiving
from tests.services.test_sender import events, make, sender, verify, webhooks
from tests.world import World


def takes(request: dict[str, object], secret: str) -> bool:
    """Whether a receiver that holds this secret takes one of the signatures, as it has to."""
    headers = request["headers"]
    assert isinstance(headers, dict)
    for one in headers["webhook-signature"].split(" "):
        alone = {**request, "headers": {**headers, "webhook-signature": one}}
        try:
            verify(alone, secret, now_s=float(headers["webhook-timestamp"]))
        except AssertionError:
            continue
        return True
    return False


def test_receivers_take_what_is_sent_by_either_secret_until_the_rotation_ends(
    world: World, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    made = make(world, tmp_path, f"http://127.0.0.1:{port}/hook")
    key_file = webhooks(world, tmp_path).key_file
    sending = sender(world, tmp_path)
    with receiving(port, log):
        (told,) = rotate_key(world.make_session, key_file)
        assert (str(told.webhook_id), told.host) == (made["id"], "127.0.0.1")
        assert told.secret != made["secret"]
        # whoever lost the first answer is told the same again
        assert rotate_key(world.make_session, key_file) == [told]
        first = world.propose_root()
        assert sending.send_due() == 1
        (both,) = received(log)
        assert takes(both, told.secret)
        assert takes(both, made["secret"])
        assert end_rotation(world.make_session, key_file) == 1
        world.decide(UUID(first["approval_id"]), "reject")
        world.propose_root()
        assert sending.send_due() == 1
        (_, alone) = received(log)
        assert takes(alone, told.secret)
        assert not takes(alone, made["secret"])
    assert events(world, "webhooks.key-rotated") == [{"webhooks": 1}, {"webhooks": 1}]


@pytest.mark.parametrize("step", ["linked", "written", "replaced"])
def test_a_crash_at_any_step_of_a_replacement_loses_no_key_and_a_repeat_ends_it(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "webhook.key"
    old = webhook_keys.load_or_create(path)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if step == "linked":
            patched.setattr(webhook_keys, "_written_beside", crash)
        elif step == "written":
            patched.setattr(Path, "replace", crash)
        else:
            patched.setattr(webhook_keys, "sync_folder", crash)
        with pytest.raises(KeyboardInterrupt):
            webhook_keys.rotate(path)
    assert webhook_keys.load(webhook_keys.before(path)) == old
    new = webhook_keys.rotate(path)
    assert new != old
    assert webhook_keys.load(webhook_keys.before(path)) == old
    assert webhook_keys.rotate(path) == webhook_keys.load(path) == new
    assert path.stat().st_mode & 0o077 == 0


def test_the_old_key_is_kept_while_a_webhook_has_its_secret_by_it(
    world: World, tmp_path: Path
) -> None:
    make(world, tmp_path, "http://127.0.0.1:9/hook")
    key_file = webhooks(world, tmp_path).key_file
    # as where the service died between the files and the rows
    webhook_keys.rotate(key_file)
    with pytest.raises(KeyRefused, match="rotate again"):
        end_rotation(world.make_session, key_file)
    assert webhook_keys.before(key_file).exists()
    rotate_key(world.make_session, key_file)
    end_rotation(world.make_session, key_file)
    assert not webhook_keys.before(key_file).exists()


def test_without_a_key_there_is_nothing_to_replace(world: World, tmp_path: Path) -> None:
    with pytest.raises(KeyRefused, match="cannot read"):
        rotate_key(world.make_session, tmp_path / "none.key")
    assert not list(tmp_path.glob("none.key*"))
