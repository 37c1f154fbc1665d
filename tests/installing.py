"""A package of models as an administrator would install one: code and its dist-info in a folder."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PACKAGE = "tried_models"
# what the builder of each does; all but the first cannot be trained privately
NETWORKS = {
    "tried_good": """
class TriedGood(nn.Module):
    def __init__(self, inputs, width, classes):
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.last = nn.Linear(width, classes)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))
""",
    "tried_batch_norm": """
class TriedBatchNorm(TriedGood):
    def __init__(self, inputs, width, classes):
        super().__init__(inputs, width, classes)
        self.norm = nn.BatchNorm1d(inputs, affine=False)

    def forward(self, x):
        return super().forward(self.norm(x))
""",
    "tried_batch_mean": """
class TriedBatchMean(TriedGood):
    def forward(self, x):
        return super().forward(x - x.mean(dim=0).detach())
""",
    "tried_uncovered": """
class TriedUncovered(TriedGood):
    def __init__(self, inputs, width, classes):
        super().__init__(inputs, width, classes)
        self.scale = nn.Parameter(torch.ones(classes))

    def forward(self, x):
        return super().forward(x) * self.scale
""",
    "tried_memory": """
class TriedMemory(TriedGood):
    def __init__(self, inputs, width, classes):
        super().__init__(inputs, width, classes)
        self.register_buffer("seen", torch.zeros(inputs))

    def forward(self, x):
        self.seen.lerp_(x.mean(dim=0).detach(), 1e-6)
        return super().forward(x - self.seen)
""",
    "tried_liar": """
class TriedLiar(TriedGood):
    def __init__(self, inputs, width, classes):
        super().__init__(inputs, width + 1, classes)
""",
}
DESCRIPTION = '''"""Public facts of {name}; nothing here loads torch."""

name = "{name}"
title = "A model of a test"
schema = {{
    "type": "object",
    "properties": {{"width": {{"type": "integer", "minimum": 1, "maximum": 64, "default": 4}}}},
}}
builder = "{package}.networks:{name}"
examples = [{{"width": 3, "inputs": 5, "classes": 2}}, {{"inputs": 8, "classes": 4}}]


def parameters(options, inputs, classes):
    width = options["width"]
    return (inputs + 1) * width + (width + 1) * classes{more}


def numbers(options, inputs, classes):
    return inputs + options["width"] + classes


def work(options, inputs, classes):
    return parameters(options, inputs, classes)
'''


def install(folder: Path, names: tuple[str, ...] = tuple(NETWORKS)) -> None:
    """Write the package with these models into a folder."""
    package, info = folder / PACKAGE, folder / f"{PACKAGE}-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text("")
    networks = ["import torch", "from torch import nn", *NETWORKS.values()]
    for name in NETWORKS:
        kind = name.title().replace("_", "")
        networks.append(f"def {name}(options, inputs, classes):")
        networks.append(f"    return {kind}(inputs, options['width'], classes)")
    (package / "networks.py").write_text("\n".join(networks) + "\n")
    for name in names:
        more = " + classes" if name == "tried_uncovered" else ""
        text = DESCRIPTION.format(name=name, package=PACKAGE, more=more)
        (package / f"{name}.py").write_text(text)
    points = [f"{name} = {PACKAGE}.{name}" for name in names]
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[epsilon_ledger.models]", *points]) + "\n")


@contextmanager
def reached(folder: Path) -> Iterator[None]:
    """The folder on the path, and nothing of its package left behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield
    for name in [each for each in sys.modules if each.split(".")[0] == PACKAGE]:
        del sys.modules[name]
