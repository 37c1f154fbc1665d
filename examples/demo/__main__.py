"""`python -m examples.demo [--once] [--json] [--port N]`: the demo, in a house of its own."""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from app.api.page import BuiltPage
from app.embedded import House, HouseRefused
from app.supervision import ChildFailed
from examples.demo import people
from examples.demo.playing import played
from examples.demo.stage import Quiet, Stage, Terminal

HALF_WIDTHS_MOST = 5
REFUSED = 409


def main() -> int:
    """Play the demo; 0 where every act went as it should."""
    parser = argparse.ArgumentParser(prog="dev.py demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the last act")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    parser.add_argument("--port", type=int, default=0, help="port to serve on; a free one if unset")
    arguments = parser.parse_args()
    stage: Stage = Quiet() if arguments.json else Terminal()
    try:
        with played(stage, port=arguments.port) as (house, cast, facts):
            if arguments.json:
                sys.stdout.write(json.dumps(facts, indent=1) + "\n")
                sys.stdout.flush()
            if not arguments.once:
                stage.act("Serving", "Until Ctrl-C.")
                # a document that is kept holds no secret
                invite(house, cast, sys.stderr if arguments.json else sys.stdout)
                house.serve()
    except (HouseRefused, ChildFailed) as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 1
    return 0 if is_as_promised(facts) else 1


def invite(house: House, cast: people.Cast, to: TextIO) -> None:
    """Write where the page is and who may sign in there, and how to ask without it."""
    made = people.passwords(house.url, house.admin_key or "", cast.ids)
    lines = list(people.ways_in(house.url, made))
    if not BuiltPage().is_built:
        lines.append("(the page is not built yet: at that address stands how to)")
    lines += [
        "or ask the API with the auditor's key:",
        f"  export EPSILON_URL={house.url} EPSILON_API_KEY={cast.auditor_key}",
        "  .venv/bin/epsilon-ledger report --dataset flights --format pdf",
        f'  curl -H "Authorization: Bearer $EPSILON_API_KEY" {house.url}/v1/budgets',
    ]
    # as they are: a line that is broken to fit cannot be copied
    to.write("\n".join(lines) + "\n")
    to.flush()


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
