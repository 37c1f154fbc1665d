"""Where a run's starts become durable and where it keeps what it has: public, fixed in its spec."""

from collections.abc import Mapping
from typing import Any, Final

from app.domain.documents import read_integer
from app.domain.errors import InvalidParameter

CHUNK_STEPS_DEFAULT: Final = 25
# Between checkpoints where a spec does not say: a tenth of the run, and not more than so many
# chunks. What a kill costs is what was started since.
CHECKPOINTS_DEFAULT: Final = 10
CHUNKS_BETWEEN_MOST: Final = 10


def parse_chunks(
    fields: Mapping[str, Any], steps: int, pointer: str, *, steps_most: int
) -> tuple[int, int]:
    """`chunk_steps` and `checkpoint_every_steps`: a checkpoint lies where a chunk ends (R13, R14).

    Raises:
        InvalidParameter: one is no number of steps, or they do not lie on one grid.
    """
    chunk_steps = read_integer(
        fields.get("chunk_steps", CHUNK_STEPS_DEFAULT),
        f"{pointer}/chunk_steps",
        low=1,
        high=steps_most,
    )
    at = f"{pointer}/checkpoint_every_steps"
    tenth = -(-steps // (CHECKPOINTS_DEFAULT * chunk_steps))
    every = read_integer(
        fields.get("checkpoint_every_steps", min(tenth, CHUNKS_BETWEEN_MOST) * chunk_steps),
        at,
        low=1,
        high=steps_most * CHUNKS_BETWEEN_MOST,
    )
    if every % chunk_steps:
        raise InvalidParameter(at, f"a multiple of chunk_steps, {chunk_steps}")
    return chunk_steps, every
