"""The models as modules: their public sizes are true, and no record's loss is another's."""

import pytest
import torch

from app.domain.training.models import Cnn, Mlp, ModelSpec, TransformerLm
from kernels.private.check import check_rows, trainable_modules
from tests.workers.engines.train.runs import INPUTS, MODELS, normals, table
from workers.engines.train.networks import accuracy, build, losses, made_up, size, start

LARGER: list[ModelSpec] = [
    Mlp((30, 20, 10), 7),
    Cnn((1, 28, 28), (16, 32), 10),
    TransformerLm("", 300, 32, 24, 3, 4),
]
models = pytest.mark.parametrize("model", [*MODELS, *LARGER], ids=lambda model: model.name)


def _inputs(model: ModelSpec) -> int:
    return 784 if isinstance(model, Cnn) and model.image[0] == 1 else INPUTS


@models
def test_the_public_number_of_weights_is_the_module_s(model: ModelSpec) -> None:
    inputs = _inputs(model)
    module = build(model, inputs)
    assert model.parameters(inputs) == size(module)
    assert model.numbers(inputs) > 0
    assert model.work(inputs) > 0


@models
def test_no_row_of_a_batch_moves_another(model: ModelSpec) -> None:
    module = build(model, _inputs(model))
    check_rows(module, trainable_modules(module), made_up(model, _inputs(model))[:1])


@models
def test_a_classifier_begins_from_equal_odds_and_every_weight_of_its_layers_is_set(
    model: ModelSpec,
) -> None:
    inputs = _inputs(model)
    module = build(model, inputs)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(torch.nan)
    start(module, normals(size(module)))
    records, labels = made_up(model, inputs)
    scores = module(records)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters())
    if isinstance(model, TransformerLm):
        assert (
            float(losses(module, records, labels).detach().mean())
            < 2 * torch.tensor(float(model.tokens)).log()
        )
    else:
        assert float(scores.detach().abs().max()) == 0.0


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_record_s_loss_is_the_same_among_any_others(model: ModelSpec) -> None:
    module, whole = build(model, INPUTS), table(9, model)
    start(module, normals(size(module)))
    together = losses(module, *whole.rows(slice(None))).detach()
    alone = torch.cat([losses(module, *whole.rows(slice(k, k + 1))).detach() for k in range(9)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_accuracy_counts_next_tokens_and_never_padding() -> None:
    class Always(torch.nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(torch.full_like(tokens, 3), 9).float()

    labels = torch.tensor([[3, 3, 0, 0], [3, 4, 5, 0]])
    assert accuracy(Always(), torch.ones_like(labels), labels) == pytest.approx(3 / 5)
