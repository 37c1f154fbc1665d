"""A private mean of the tumours' radii by OpenDP, on its own."""

import opendp.prelude as dp
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
print(f"mean radius about {mean(radii):.1f}")
