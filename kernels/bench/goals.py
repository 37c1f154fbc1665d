"""DESIGN section 9 for the training benchmark: aims, musts, and what is known of what is left."""

from dataclasses import dataclass

# The gap of a peer below which the must lies: 0.85 of what is aimed at.
PEER_SLACK = 0.85


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure: `engine` over `base` on a model, in throughput or in extra memory."""

    model: str
    engine: str
    base: str
    aim: float
    must: float
    memory: bool = False

    def met(self, figure: float, level: float) -> bool:
        """Whether a figure reaches a level: throughput from above, memory from below."""
        return figure <= level if self.memory else figure >= level

    def describe(self) -> str:
        """What is compared with what."""
        what = "extra memory" if self.memory else "throughput"
        return f"{self.model} {self.engine}: {what} over {self.base}"


def _over_plain(model: str, engine: str, aim: float, must: float) -> Goal:
    return Goal(model, engine, "plain", aim, must)


def _over_peer(model: str, peer: str, aim: float) -> Goal:
    return Goal(model, "flat", peer, aim, round(PEER_SLACK * aim, 3))


SPEED = (
    *(_over_plain("gpt", "per-layer", 0.96, 0.92), _over_plain("gpt", "flat", 0.95, 0.92)),
    *(_over_plain("mlp", "per-layer", 0.95, 0.92), _over_plain("mlp", "flat", 0.95, 0.92)),
    *(_over_plain("lora", "per-layer", 0.97, 0.95), _over_plain("lora", "flat", 0.97, 0.95)),
    *(_over_plain("cnn", "per-layer", 0.90, 0.75), _over_plain("cnn", "flat", 0.80, 0.68)),
    *(_over_peer("gpt", "opacus-hooks", 1.6), _over_peer("gpt", "opacus-ghost", 1.9)),
    *(_over_peer("cnn", "opacus-hooks", 1.8), _over_peer("cnn", "opacus-ghost", 2.2)),
    *(_over_peer("mlp", "opacus-hooks", 50.0), _over_peer("mlp", "opacus-ghost", 1.7)),
    *(_over_peer("lora", "opacus-hooks", 1.1), _over_peer("lora", "opacus-ghost", 1.7)),
)
MEMORY = (
    *(
        Goal(model, engine, "plain", 1.05, 1.25, memory=True)
        for model in ("gpt", "mlp", "cnn", "lora")
        for engine in ("per-layer", "flat")
    ),
    # Streaming is for models whose activations or gradients weigh; a LoRA step's do not.
    *(Goal(model, "stream", "plain", 0.75, 0.75, memory=True) for model in ("gpt", "cnn")),
)
# The positions that the goals are set for; other lengths are printed beside.
POSITIONS = 128
# Printed where an aim is not reached: what is left, and what was tried.
NOTES = {
    ("cnn", "per-layer"): "left: inputs are padded and gradients turned over once an example, and "
    "read a second time for dX. Tried: patches and the process's BLAS, 0.64.",
    ("cnn", "flat"): "left: each gradient is formed by itself; layers above ClipSpec.kept_bytes "
    "take their norms from patches where that is faster, and are formed in the sum. Keeping all of "
    "them takes 70 MB beside the plain step's 68. Tried: patches for every layer, 0.57.",
    ("gpt", "per-layer"): "left: each example's gradient is written once and read once, since its "
    "factor is not known before; with AVX2 that is a tenth of the product. Tried: the process's "
    "BLAS, 0.96 with AVX-512, 0.90 with AVX2.",
    ("gpt", "flat"): "left: the half Gram matrices in 16-bit integers, with AVX2 6% of a step (a "
    "quarter of it packing), where each pair of products takes an addition of its own. Tried: the "
    "process's BLAS for the sums, 0.95 with AVX-512 and no better than ours with AVX2; there also "
    "slabs of 512 positions, and output gradients packed 64 or 256 KiB at a time: no difference; "
    "forming each gradient for its norm: 0.72.",
}
ABOVE_ONE = (
    "A throughput above 1 is no less work: the BLAS behind the plain step runs at half the width "
    "of the registers on processors of another maker than its own; our product runs at all of it."
)
