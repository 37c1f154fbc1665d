"""`python -m examples.demo [--once] [--json] [--port N]`: the demo, in a house of its own."""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.db.session import make_engine, make_session_maker
from app.embedded import HouseRefused, running
from app.settings import Settings
from app.supervision import ChildFailed
from examples.demo import data
from examples.demo.scenario import Scenario
from examples.demo.stage import Quiet, Stage, Terminal

HOME = Path(".epsilon") / "demo"
HALF_WIDTHS_MOST = 5
REFUSED = 409


def main() -> int:
    """Play the demo; 0 where every act went as it should."""
    began_s = time.monotonic()
    parser = argparse.ArgumentParser(prog="dev.py demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the last act")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    parser.add_argument("--port", type=int, default=0, help="port to serve on; a free one if unset")
    arguments = parser.parse_args()
    stage: Stage = Quiet() if arguments.json else Terminal()
    # every demo begins with an empty ledger of its own; a real one is never deleted
    shutil.rmtree(HOME, ignore_errors=True)
    folder = HOME / "data"
    folder.mkdir(parents=True)
    stage.say("Writing the demo's data and starting database, broker, worker and API …")
    data.write_flights(folder)
    data.write_digits(folder)
    settings = Settings(home=HOME, port=arguments.port)
    try:
        with running(settings) as house:
            if house.admin_key is None:
                raise RuntimeError("a fresh demo found people in its database")
            engine = make_engine(house.settings.database_url)
            scenario = Scenario(
                house.url, folder.resolve(), make_session_maker(engine), stage, began_s
            )
            facts = scenario.play(house.admin_key)
            engine.dispose()
            if arguments.json:
                sys.stdout.write(json.dumps(facts, indent=1) + "\n")
                sys.stdout.flush()
            if not arguments.once:
                stage.act("Serving", f"{house.url} until Ctrl-C; the administrator's key:")
                stage.say(f"  {house.admin_key}")
                stage.say(f"  curl -H 'Authorization: Bearer KEY' {house.url}/v1/budgets")
                stage.say("and the auditor's, who may ask for reports in json, html or pdf:")
                stage.say(
                    f"  export EPSILON_URL={house.url} EPSILON_API_KEY={scenario.auditor_key}"
                )
                stage.say("  .venv/bin/epsilon-ledger report --dataset flights --format pdf")
                house.serve()
    except (HouseRefused, ChildFailed) as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 1
    return 0 if is_as_promised(facts) else 1


def is_as_promised(facts: Mapping[str, Any]) -> bool:
    """Whether the facts are what the demo says of them."""
    return all(
        (
            facts["query"]["worst_error_in_half_widths"] <= HALF_WIDTHS_MOST,
            facts["charge"]["independent_repricing_agrees"],
            facts["training"]["independent_repricing_agrees"],
            facts["resubmitted"]["fits"],
            facts["resubmitted"]["one_more"] == REFUSED,
            facts["chain"]["verified"],
            facts["report"]["state"] == "ready",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
