"""What a training run has made so far, to be kept and gone on from (R14).

Weights, the optimizer's state and the steps that shaped them are functions of released, charged
gradients; the canaries' coins and scores are nobody's data. So a checkpoint is post-processing of
what is charged, and to go on from it costs nothing. What would undo the noise or repeat a draw is
never in it: no key, no nonce, no state of a sampler, no gradient. A resumed run draws a key of its
own, so no (key, nonce) comes twice whatever steps are numbered alike.

Written as safetensors and JSON: to read it runs no code.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from app.domain.decimals import decimal_text
from workers.engines.checkpoint_folder import CheckpointFolder
from workers.engines.train.canaries import Canaries

log = logging.getLogger(__name__)

TENSORS: Final = "state.safetensors"
NUMBERS: Final = "state.json"
VERSION: Final = 1
WEIGHT, MOMENT, CANARY = "weight.", "optimizer.", "canary."


class DoesNotFit(ValueError):
    """A checkpoint of another version of this code or of another model."""


@dataclass(slots=True)
class RunState:
    """All that makes one run's next step what it is, besides fresh draws and fresh noise.

    clip_norm_l2: C, as the spec gives it or as a charged look has chosen it (R27).
    steps_run: the steps that shaped the weights, under this claim and the ones before.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    canaries: Canaries | None
    clip_norm_l2: Decimal | None
    steps_run: int = 0

    def save(self, folder: Path) -> None:
        """Write it into an empty folder."""
        moments = {
            f"{MOMENT}{place}.{name}": value
            for place, state in self.optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }
        tensors = {name: value for name, value in moments.items() if isinstance(value, Tensor)}
        numbers = {name: value for name, value in moments.items() if name not in tensors}
        written = {**self._weights(), **tensors, **self._seen()}
        save_file(
            {name: value.detach().contiguous() for name, value in written.items()},
            folder / TENSORS,
        )
        norm = None if self.clip_norm_l2 is None else decimal_text(self.clip_norm_l2)
        document = {
            "v": VERSION,
            "steps_run": self.steps_run,
            "clip_norm_l2": norm,
            "optimizer": numbers,
        }
        (folder / NUMBERS).write_text(json.dumps(document), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Go on from what was written; where it does not fit, nothing is changed.

        Raises:
            DoesNotFit: names or shapes are not those of this run.
        """
        document = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
        if document["v"] != VERSION:
            raise DoesNotFit("another version")
        found = load_file(folder / TENSORS)
        moments: dict[int, dict[str, Any]] = {}
        for key in [key for key in found if key.startswith(MOMENT)]:
            _put(moments, key, found.pop(key))
        for key, value in document["optimizer"].items():
            _put(moments, key, value)
        expected = {**self._weights(), **self._seen()}
        if {name: value.shape for name, value in found.items()} != {
            name: value.shape for name, value in expected.items()
        }:
            raise DoesNotFit("other weights or canaries")
        parameters = [each for group in self.optimizer.param_groups for each in group["params"]]
        for place, state in moments.items():
            fits = 0 <= place < len(parameters)
            for value in state.values():
                if fits and isinstance(value, Tensor):
                    fits = value.shape == parameters[place].shape
            if not fits:
                raise DoesNotFit("another optimizer")
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        with torch.no_grad():
            for name, parameter in self._weights().items():
                parameter.copy_(found[name])
        if self.canaries is not None:
            self.canaries.go_on(_named(CANARY, found), steps=document["steps_run"])
        self.steps_run = document["steps_run"]

    def go_on(self, kept: CheckpointFolder | None) -> None:
        """Load the newest checkpoint of the job, if there is one that fits."""
        newest = None if kept is None else kept.newest()
        if newest is None:
            return
        try:
            self.load(newest.folder)
        except (DoesNotFit, KeyError) as refused:
            # of another version of the service: the units that are left are run from the start
            log.warning("checkpoint.does_not_fit error=%s", refused)

    def _weights(self) -> dict[str, Tensor]:
        """What learns: what is frozen is built anew as it was."""
        return {
            WEIGHT + name: value
            for name, value in self.model.named_parameters()
            if value.requires_grad
        }

    def _seen(self) -> dict[str, Tensor]:
        seen = {} if self.canaries is None else self.canaries.seen()
        return {CANARY + name: value for name, value in seen.items()}


def kept_clip_norm(kept: CheckpointFolder | None) -> Decimal | None:
    """C as an earlier claim has chosen it by its charged look: to look again would cost again."""
    newest = None if kept is None else kept.newest()
    if newest is None:
        return None
    norm = json.loads((newest.folder / NUMBERS).read_text(encoding="utf-8")).get("clip_norm_l2")
    return None if norm is None else Decimal(norm)


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _put(moments: dict[int, dict[str, Any]], key: str, value: Any) -> None:
    place, _, name = key.removeprefix(MOMENT).partition(".")
    moments.setdefault(int(place), {})[name] = value
