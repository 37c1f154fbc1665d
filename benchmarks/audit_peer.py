"""Holds our audit's figures against those of JAX-Privacy: `dev.py bench audit_peer` (R26).

The peer computes from the same counts in an environment of its own. Ends with 1 where a figure of
ours lies above the peer's, or below it by more than the steps of our search explain.
"""

import json
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.domain import canaries
from benchmarks import peers
from benchmarks.peers.auditing import JAX_PRIVACY

FOLDER: Final = Path(sys.prefix) / "peers"
STORED: Final = Path("tests/data/jax-privacy-figures.json")
SOURCE: Final = "jax_privacy 2.0.0, jax_privacy.auditing"
# our search for mu ends within 1e-4, from below, and epsilon moves by a few times that
TOLERANCE: Final = 1e-3


def gaps(figures: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[float]]:
    """The peer's figures less ours, of each kind; never below 0 beyond rounding where all is well.

    clopper_pearson: of an upper bound on a rate, so ours less the peer's.
    gaussian: where the two rates are worse than a blind guess, the peer takes the size of a
        negative mu between upper bounds for evidence. It is none, so ours is 0 there.
    """
    return {
        "clopper_pearson": [
            canaries._rate_at_most(each["successes"], each["trials"], each["significance"])  # noqa: SLF001
            - each["upper"]
            for each in figures["clopper_pearson"]
        ],
        "one_run": [each["epsilon"] - _one_run(each) for each in figures["one_run"]],
        "gaussian": [
            each["epsilon"] - ours
            for each in figures["gaussian"]
            if (ours := _gaussian(each)) > 0.0 or each["right"] > 2 * each["false"]
        ],
    }


def _one_run(each: Mapping[str, Any]) -> float:
    mu = canaries.one_run_mu(
        each["canaries"],
        guesses=each["guesses"],
        right=each["right"],
        significance=each["significance"],
    )
    return canaries.gdp_epsilon(mu, each["delta"])


def _gaussian(each: Mapping[str, Any]) -> float:
    def scores(ones: int, count: int) -> canaries.Scores:
        return np.repeat([1.0, 0.0], [ones, count - ones])

    held = canaries.CanaryScores(
        scores(each["right"], each["members"]), scores(each["false"], each["others"])
    )
    # the peer shares its significance out over all thresholds
    significance = each["significance"] / each["thresholds"]
    rates = canaries._rates_at_most(held, 1.0, significance)  # noqa: SLF001
    return canaries.gdp_epsilon(canaries._mu(*rates), each["delta"])  # noqa: SLF001


def main(arguments: Sequence[str]) -> int:
    """Ask the peer and compare."""
    parser = ArgumentParser(prog="dev.py bench audit_peer", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {STORED}")
    asked = parser.parse_args(arguments)
    python = peers.prepare(JAX_PRIVACY, FOLDER)
    with tempfile.NamedTemporaryFile() as nothing:
        figures = peers.run(JAX_PRIVACY, python, Path(nothing.name))
    if asked.write:
        STORED.write_text(json.dumps({"source": SOURCE, **figures}, indent=1) + "\n")
    is_short = False
    for kind, found in gaps(figures).items():
        kept = min(found) >= -TOLERANCE and max(found) <= TOLERANCE
        is_short |= not kept
        print(f"  {kind:16} {len(found):4} figures, gaps {min(found):+.1e} to {max(found):+.1e}")
    return int(is_short)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
