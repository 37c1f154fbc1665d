"""What is clipped together, to which bound; and why a model may be refused."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kernels.layers.api import require_clip_norm

Mode = Literal["per_layer", "flat", "per_group", "stream"]
PlanName = Literal["auto", "direct", "ghost", "keep"]


class ModelRefused(Exception):
    """A model that cannot be trained privately as it is; names the module and the remedy."""

    def __init__(self, module: str, problem: str, remedy: str) -> None:
        """Say what is wrong and what to do."""
        super().__init__(f"{module or 'the model'}: {problem}; {remedy}")
        self.module = module
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """How per-example gradients are clipped.

    mode: `flat`, all parameters together (book-keeping); `per_layer`, each module by itself, fused
        in the backward pass, nothing stored; `per_group`, the groups of `groups`; `stream`, flat
        with a few examples at a time, for small memory.
    bound: C, the L2 bound on one example's part of the whole sum. Groups share it: each of K groups
        without a bound of its own gets C / sqrt(K), so that the whole stays within C.
    groups: for `per_group`: module name prefix -> its own bound, or None for a share of C. Each
        module belongs to the longest prefix that fits.
    plan: how linear layers take their norms; `auto` measures each shape once (never data).
    microbatch: for `stream`, examples at a time.
    kept_bytes: per-example gradients of a layer are kept up to this size instead of formed twice.
    keeps_norms: `flat` and `stream` alone: each example's norm is kept for who made the model. No
        layer is fused then, so that one group knows every norm.
    """

    mode: Mode
    bound: float
    groups: Mapping[str, float | None] = field(default_factory=dict)
    plan: PlanName = "auto"
    microbatch: int = 1
    kept_bytes: int = 10 * 2**20
    keeps_norms: bool = False

    def __post_init__(self) -> None:
        """Refuse bounds without a proof, and options that the mode does not read.

        Raises:
            ValueError: says which.
        """
        require_clip_norm(self.bound)
        for bound in self.groups.values():
            if bound is not None:
                require_clip_norm(bound)
        if (self.mode == "per_group") != bool(self.groups):
            raise ValueError("groups belong to the mode per_group, and it needs them")
        if self.keeps_norms and self.mode not in ("flat", "stream"):
            raise ValueError("one norm an example needs one group: the mode flat or stream")
        if self.microbatch < 1 or self.kept_bytes < 0:
            raise ValueError("microbatch is at least 1 and kept_bytes at least 0")


def shared_bounds(bound: float, own: list[float | None]) -> list[float]:
    """The bound of each group: its own, or C / sqrt(K) over all K groups, rounded down."""
    share = math.nextafter(bound / math.sqrt(max(1, len(own))) * (1 - 2.0**-50), 0.0)
    return [share if one is None and len(own) > 1 else one or bound for one in own]
