"""DP-SGD on scikit-learn's digits by Opacus, under the ledger."""

import torch
from epsilon_ledger import from_opacus, reserved
from opacus import PrivacyEngine
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

STEPS, NOISE_MULTIPLIER = 60, 1.1

images, digits = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(images / 16).float(), torch.tensor(digits))
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
model, optimizer, loader = PrivacyEngine().make_private(
    module=model,
    optimizer=torch.optim.SGD(model.parameters(), lr=0.5),
    data_loader=DataLoader(data, batch_size=64),
    noise_multiplier=NOISE_MULTIPLIER,
    max_grad_norm=1.0,
)
plan = [(NOISE_MULTIPLIER, loader.sample_rate, STEPS)]
batches = iter(loader)
with reserved("digits", parts=from_opacus(plan, data_loader=loader), tool="opacus 1.6.0") as held:
    for step in range(STEPS):
        held.start(step + 1)
        x, y = next(batches, None) or next(batches := iter(loader))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
print(f"{STEPS} steps ran")
