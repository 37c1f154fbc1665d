"""One racing process: threads that reserve as fast as they can and count what they were told."""

import json
import sys
import threading
from typing import Any
from uuid import UUID, uuid4

from app.db.session import make_engine, make_session_maker
from app.domain.errors import BudgetExceeded
from app.domain.ledger import document_sha256
from app.services.access import Caller
from app.services.admission import Admissions
from app.services.idempotency import Keyed
from app.services.placement import ReservationRequest
from app.services.pricing import InputRequest
from app.services.writer import AdmissionWriter


def race(plan: dict[str, Any]) -> dict[str, int]:
    make_session = make_session_maker(make_engine(plan["database_url"]))
    writer = AdmissionWriter(make_session)
    writer.start()
    admissions = Admissions(make_session, writer)
    caller = Caller(
        UUID(plan["engineer"]),
        "engineer",
        frozenset({"ml_engineer"}),
        "key",
        False,
        frozenset(UUID(project) for project in plan["projects"]),
    )
    parts = [{"mechanism": plan["mechanism"], "max_units": 1}]
    inputs = (InputRequest(UUID(plan["dataset"]), 1, UUID(plan["budget"])),)
    counts = {"admitted": 0, "refused": 0}
    guard = threading.Lock()

    def run() -> None:
        for _ in range(plan["tries"]):
            request = ReservationRequest(inputs, parts, 900, "a racer")
            keyed = Keyed(caller.principal_id, "r", uuid4().hex, document_sha256(parts))
            try:
                admissions.reserve(caller, request, keyed)
                outcome = "admitted"
            except BudgetExceeded:
                outcome = "refused"
            with guard:
                counts[outcome] += 1

    threads = [threading.Thread(target=run) for _ in range(plan["threads"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.stop()
    return counts


if __name__ == "__main__":
    sys.stdout.write(json.dumps(race(json.loads(sys.argv[1]))))
