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

BASE = '''"""Public facts of a base; its networks are beside it."""

name = "tried_base"
title = "A base of a test"
schema = {"type": "object", "properties": {}}
builder = "tried_models.base_networks:tried_base"
examples = [{"lora": {"rank": 2}, "inputs": 2, "classes": 2}]


def base(options, inputs, classes):
    return {
        "title": "weights of nobody",
        "sha256": "SHA256",
        "layers": {"first": [inputs, 8], "middle": [8, 8]},
        "trained": {"last": 9 * classes},
    }


def numbers(options, inputs, classes):
    return inputs + 16 + classes


def work(options, inputs, classes):
    return 8 * (inputs + 8 + classes)
'''
BASE_NETWORKS = """import torch
from torch import nn


class TriedBase(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.first, self.middle = nn.Linear(inputs, 8), nn.Linear(8, 8)
        self.last = nn.Linear(8, classes)
        with torch.no_grad():  # a real package would load a file of its own
            for layer in (self.first, self.middle):
                for weights in layer.parameters():
                    count = torch.arange(weights.numel()).view_as(weights)
                    weights.copy_(((count * 5) % 13 - 6) / 4)

    def forward(self, x):
        return self.last(torch.tanh(self.middle(torch.tanh(self.first(x)))))


def tried_base(options, inputs, classes):
    return TriedBase(inputs, classes)
"""

LM = '''"""Public facts of a language base; its weights are beside it."""

name = "tried_plays"
title = "A language base of a test"
extends = "transformer_lm"
options = {"alphabet": "abcd ", "context": 6, "width": 16, "heads": 2, "layers": 2}
builder = "tried_models.weights:plays"
base = {"title": "plays of nobody", "sha256": "SHA256"}
'''
LM_WEIGHTS = """from pathlib import Path

from safetensors.torch import load_file


def plays():
    return load_file(Path(__file__).with_name("plays.safetensors"))
"""


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


def install_base(folder: Path, sha256: str, change: tuple[str, str] = ("", "")) -> None:
    """A package with one base, whose description says this digest of its weights.

    change: made to its networks.
    """
    install(folder, ())
    package, info = folder / PACKAGE, folder / f"{PACKAGE}-1.0.dist-info"
    (package / "tried_base.py").write_text(BASE.replace("SHA256", sha256))
    (package / "base_networks.py").write_text(BASE_NETWORKS.replace(*change))
    points = f"[epsilon_ledger.models]\ntried_base = {PACKAGE}.tried_base\n"
    (info / "entry_points.txt").write_text(points)


def install_lm(
    folder: Path, sha256: str, weights: Path, change: tuple[str, str] = ("", "")
) -> None:
    """A package with one language base, whose weights are a released model's file.

    change: made to its description.
    """
    install(folder, ())
    package, info = folder / PACKAGE, folder / f"{PACKAGE}-1.0.dist-info"
    (package / "tried_plays.py").write_text(LM.replace("SHA256", sha256).replace(*change))
    (package / "weights.py").write_text(LM_WEIGHTS)
    (package / "plays.safetensors").write_bytes(weights.read_bytes())
    points = f"[epsilon_ledger.models]\ntried_plays = {PACKAGE}.tried_plays\n"
    (info / "entry_points.txt").write_text(points)


@contextmanager
def reached(folder: Path) -> Iterator[None]:
    """The folder on the path, and nothing of its package left behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield
    for name in [each for each in sys.modules if each.split(".")[0] == PACKAGE]:
        del sys.modules[name]
