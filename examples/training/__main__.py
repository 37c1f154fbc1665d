"""`python -m examples.training digits|images|text`: a test metric without privacy and with it."""

import json
import subprocess
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path

from examples.training.run import EPSILONS, EXAMPLES, prepare, with_privacy, without_privacy

NAMES = {"digits": "accuracy", "images": "accuracy", "text": "next characters right"}


def main() -> int:
    """Train without privacy and at each epsilon, a process each, so that memory is its own."""
    parser = ArgumentParser(prog="python -m examples.training", description=__doc__)
    parser.add_argument("example", choices=list(EXAMPLES))
    parser.add_argument("--epsilons", default=",".join(EPSILONS))
    parser.add_argument("--folder", type=Path, default=Path(".epsilon/examples"))
    parser.add_argument("--one", help="one run in this process, as JSON: an epsilon or none")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.one:
        prepared = prepare(EXAMPLES[asked.example], asked.folder)
        plain = asked.one == "none"
        found = without_privacy(prepared) if plain else with_privacy(prepared, asked.one)
        _say(json.dumps(asdict(found)))
        return 0
    _say(EXAMPLES[asked.example].title)
    _say(f"  {'epsilon':>9} {NAMES[asked.example]:>22} {'CPU s':>8} {'MB':>6}  audit")
    for epsilon in ("none", *asked.epsilons.split(",")):
        command = [sys.executable, "-m", "examples.training", asked.example, "--one", epsilon]
        command += ["--folder", str(asked.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        line = json.loads(done.stdout.strip().splitlines()[-1])
        verdict = (line["audit"] or {"verdict": "-"})["verdict"]
        figures = f"{line['accuracy']:>22.3f} {line['seconds']:>8.0f} {line['peak_mb']:>6.0f}"
        _say(f"  {epsilon:>9} {figures}  {verdict}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
