"""The charged look that chooses C: norms of records at the initial weights, and one edge (R27).

Nothing of the norms leaves this module but the edge, and that by a draw that was charged.
"""

from collections.abc import Callable
from decimal import Decimal

import torch
from torch import Tensor, nn

from app.domain.decimals import float_down
from app.domain.training.clipping import ClipProfile, clip_grid
from kernels.private.model import PrivateModel, privatize
from kernels.private.spec import ClipSpec
from workers.engines.query.noise import score_sampler
from workers.engines.train.data import Examples

Losses = Callable[[nn.Module, Tensor, Tensor], Tensor]


def gradient_norms(
    private: PrivateModel, example: Tensor, losses: Losses, table: Examples
) -> Tensor:
    """Each record's gradient norm over all parameters together, at the weights as they are.

    One record at a time: its norm is then a function of that record to the last bit. In a batch the
    rounding of a product may depend on the rows beside it, and a count, unlike a sum, would make a
    whole record of a last bit.

    Args:
        private: the model; it stays as it is.
        example: three made-up records.
        losses: gives (B,) losses from a model and a part of the table.
        table: the records; their unit is started (L2).

    Returns:
        (n,) float64, never underestimated; NaN or infinite where the arithmetic broke. Private.
    """
    watched = privatize(
        private.plain_copy(), ClipSpec(mode="flat", bound=1.0, keeps_norms=True), (example,)
    )
    found = torch.zeros(len(table), dtype=torch.float64)
    for record in range(len(table)):
        # copied, so that every record lies in memory alike
        inputs, labels = (rows.clone() for rows in table.rows(slice(record, record + 1)))
        found[record] = watched.norms(losses(watched.model, inputs, labels))[0]
    return found


def at_most(norms: Tensor) -> list[int]:
    """How many norms are at most each edge of the grid; one that is not finite is above all."""
    edges = torch.tensor([float_down(edge) for edge in clip_grid()], dtype=torch.float64)
    ordered = torch.nan_to_num(norms, nan=torch.inf).sort().values
    found: list[int] = torch.searchsorted(ordered, edges, right=True).tolist()
    return found


def choose(profile: ClipProfile, norms: Tensor) -> Decimal:
    """C: an edge of the public grid, by one draw of the exponential mechanism.

    Raises:
        EngineRefused: the sampler's own map exceeds the charge; said before the draw.
    """
    sampler = score_sampler(profile.sensitivity, profile.epsilon, profile.scale)
    (place,) = sampler(profile.scores(at_most(norms), norms.shape[0]))
    return clip_grid()[place]
