"""Examines the models of installed packages: `epsilon-ledger check-models`.

Each is built from the examples of its description and passed made-up records, so nothing is read
and nothing spent. What is found is evidence and no proof: a module that mixes rows only on some
inputs can pass. Each job examines its own model once more before it starts.

A worker does this as it starts, in a process of its own, and keeps the verdicts in the database:
what none has accepted is refused before anything is reserved.
"""

import argparse
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

from app.db.session import database_now, make_engine, make_session_maker, transaction
from app.domain.training.installed import InstalledEntry
from app.programs import examiner_command
from app.services.models import Verdict, installed_models, record_verdict
from app.settings import SettingRefused, Settings

log = logging.getLogger(__name__)

EXAMINED_WITHIN_S = 600


def examine(entry: InstalledEntry) -> Verdict:
    """Build every example of an installed model and see whether it can be trained privately."""
    from kernels.private.spec import ClipSpec, ModelRefused
    from workers.engines.train.examination import examined

    for model, inputs in entry.examples:
        try:
            examined(model, inputs, ClipSpec(mode="flat", bound=1.0))
        except ModelRefused as refusal:
            return Verdict(
                accepted=False,
                module=refusal.module,
                problem=refusal.problem,
                remedy=refusal.remedy,
            )
    return Verdict(accepted=True)


def examine_beside() -> threading.Thread | None:
    """Examine what is installed in a process of its own, so that this one loads no torch.

    Gives what waits for its end; None where nothing is installed.
    """
    if not installed_models().entries:
        return None

    def run() -> None:
        try:
            done = subprocess.run(  # noqa: S603 - a command line of our own
                examiner_command(["--record"]),
                capture_output=True,
                text=True,
                check=False,
                timeout=EXAMINED_WITHIN_S,
            )
        except subprocess.TimeoutExpired:
            # a builder or a pass does not end
            log.warning("models.not_examined")
            return
        for line in (done.stdout + done.stderr).splitlines():
            log.log(
                logging.WARNING if done.returncode else logging.INFO,
                "models.examined said=%s",
                line,
            )

    waiting = threading.Thread(target=run, name="examine-models", daemon=True)
    waiting.start()
    return waiting


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: one line for each model, and the remedy of each that is refused."""
    parser = argparse.ArgumentParser(
        prog="epsilon-ledger check-models",
        description="Examine the models of installed packages on made-up records.",
    )
    parser.add_argument(
        "--record", action="store_true", help="keep the verdicts where the service reads them"
    )
    given = parser.parse_args(arguments)
    installed = installed_models()
    found = {name: examine(entry) for name, entry in installed.entries.items()}
    for name, fault in installed.faults.items():
        sys.stdout.write(f"{name}: not usable: {fault}\n")
    for name, verdict in found.items():
        said = "accepted"
        if not verdict.accepted:
            module = f"{verdict.module}: " if verdict.module else ""
            said = f"refused: {module}{verdict.problem}; {verdict.remedy}"
        sys.stdout.write(f"{name}: {said}\n")
    if not found and not installed.faults:
        sys.stdout.write("no package brings a model\n")
    if given.record:
        try:
            settings = Settings.from_environment(os.environ)
        except SettingRefused as refusal:
            sys.stderr.write(f"epsilon-ledger: {refusal}\n")
            return 1
        engine = make_engine(settings.database_url)
        with transaction(make_session_maker(engine)) as session:
            for name, verdict in found.items():
                entry = installed.entries[name]
                record_verdict(session, entry, verdict, now=database_now(session))
        engine.dispose()
    return int(bool(installed.faults) or any(not each.accepted for each in found.values()))


if __name__ == "__main__":
    sys.exit(main())
