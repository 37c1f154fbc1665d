"""What people must hear of is written where it happens, and queued for who is outside."""

from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from app.db.models import Delivery, Notification
from app.db.session import snapshot
from app.domain.errors import BudgetExceeded
from app.domain.notices import NOTICE_KINDS
from app.services import notifications
from app.services.verification import Verifier
from tests.services.test_refutations import post
from tests.services.test_sender import make
from tests.services.test_settlement import root, world
from tests.services.test_verification import tamper
from tests.world import World

__all__ = ["root", "world"]


def test_the_five_things_that_people_must_hear_of_are_each_on_their_way(
    world: World, root: UUID, tmp_path: Path
) -> None:
    """Each by the way that it happens, and nothing written by hand."""
    make(world, tmp_path, "https://hooks.example/", NOTICE_KINDS)
    world.change(root, "raise", epsilon=Decimal("9"))
    for _ in range(notifications.BURST_REFUSALS):
        with pytest.raises(BudgetExceeded):
            world.reserve(root, {"type": "pure", "epsilon": "3"}, 9)
    world.reserve(root, {"type": "pure", "epsilon": "5"}, 1)
    post(world, root, {"p_value": 1e-9})
    tamper(world, "an entry is edited")
    Verifier(world.make_session, clock_s=lambda: 0.0).step()
    with snapshot(world.make_session) as session:
        kinds = set(
            session.scalars(
                select(Notification.kind).join(
                    Delivery, Delivery.notification_id == Notification.id
                )
            )
        )
    assert kinds >= {"approval", "refusals", "threshold", "audit", "broken-chain"}
