"""A private mean of the tumours' radii by OpenDP, under the ledger."""

import opendp.prelude as dp
from epsilon_ledger import from_opendp, reserved
from sklearn.datasets import load_breast_cancer

dp.enable_features("contrib")

radii = load_breast_cancer().data[:, 0].tolist()
mean = (
    dp.t.make_clamp(
        dp.vector_domain(dp.atom_domain(T=float, nan=False)), dp.symmetric_distance(), (6.0, 30.0)
    )
    >> dp.t.then_resize(size=500, constant=14.0)
    >> dp.t.then_mean()
    >> dp.m.then_laplace(scale=0.2)
)
with reserved("tumours", parts=from_opendp(mean, d_in=1), tool="opendp 0.16.0") as held:
    held.start(1)
    print(f"mean radius about {mean(radii):.1f}")
