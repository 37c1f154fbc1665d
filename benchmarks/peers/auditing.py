"""Another audit's figures of the same counts, in a virtual environment of its own."""

from typing import Final

from benchmarks.peers import Peer

_FIGURES: Final = """
import json, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from jax_privacy import auditing

bounds = [
    {"successes": k, "trials": n, "significance": s,
     "upper": float(auditing._clopper_pearson_upper(k, n, s))}
    for n in (10, 137, 5000)
    for k in sorted({round(n * share) for share in (0, 0.01, 0.2, 0.5, 0.97, 1)})
    for s in (0.025, 1e-4)
]
one_run = [
    {"canaries": m, "guesses": guesses, "right": right, "significance": s, "delta": d,
     "epsilon": float(auditing._epsilon_one_run_fdp(0, m, guesses, right, s, d))}
    for m in (200, 2000, 10000)
    for guesses in (20, m // 10, m // 2)
    for right in sorted({round(guesses * p) for p in (0.5, 0.6, 0.75, 0.9, 0.99, 1.0)})
    for s, d in ((0.05, 1e-5), (1e-4, 1e-6))
]
gaussian = []
for members, others, right, false in (
    (500, 500, 250, 5), (5000, 5000, 2500, 100), (5000, 5000, 4990, 5), (1000, 3000, 500, 20),
    (5000, 5000, 800, 700),
):
    for s, d in ((0.05, 1e-5), (0.01, 1e-6)):
        held = auditing.CanaryScoreAuditor(
            np.array([1.0] * right + [0.0] * (members - right)),
            np.array([1.0] * false + [0.0] * (others - false)),
        )
        gaussian.append({
            "members": members, "others": others, "right": right, "false": false,
            "significance": s, "delta": d, "thresholds": len(held._fn_counts),
            "epsilon": float(held.epsilon_from_gdp(s, d)),
        })
print(json.dumps({"clopper_pearson": bounds, "one_run": one_run, "gaussian": gaussian}))
"""

JAX_PRIVACY: Final = Peer(
    "jax-privacy",
    ("jax_privacy==2.0.0", "jax==0.10.2", "jaxlib==0.10.2", "scipy==1.17.1", "numpy==2.4.6"),
    _FIGURES,
)
